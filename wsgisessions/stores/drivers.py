"""The stores that need a driver, which is imported when one of them is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from .base import Store

DRIVEN_STORES = {
    "MongoDBStore": "mongodb",
    "MySQLStore": "mysql",
    "PostgresStore": "postgres",
    "RedisStore": "redis",
}
"""By class: its module here, which is also what the package calls the extra that installs its driver."""


def import_store(name: str) -> type[Store]:
    """Return a store's class.

    :raises ImportError: its driver is not installed; the message says how to.
    """
    module = DRIVEN_STORES[name]
    try:
        return cast("type[Store]", getattr(import_module(f"wsgisessions.stores.{module}"), name))
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{name} needs {error.name}: pip install 'wsgisessions[{module}]'", name=error.name
        ) from error
