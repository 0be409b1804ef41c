"""Opening a store by its URL; a store's driver is imported when its scheme is asked for."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .base import Store
from .drivers import import_store
from .memory import MemoryStore
from .sqlite import SQLiteStore

ENTRY_POINT_GROUP = "wsgisessions.stores"
"""Where other packages announce theirs: the scheme is the entry point's name, and the object is
called with the URL and the options of `open_store`."""


class Opener(Protocol):
    """Makes a store from a URL."""

    def __call__(self, url: str, **options: Any) -> Store:
        """Return the store, without any I/O."""
        ...


def open_store(url: str, **options: Any) -> Store:
    """Return the store that a URL names.

    `memory://`, `sqlite:///file.db` (`////` for an absolute path), `redis://`, `rediss://`, `unix://`,
    `redis+cluster://`, `redis+sentinel://`, `postgresql://`, `mysql://`, `mongodb://` or `mongodb+srv://`.
    No I/O happens before the store's first use.

    :param options: keyword arguments for the store's constructor.
    :raises ConfigurationError: the URL's scheme is unknown, or the URL is malformed.
    :raises ImportError: the store's driver is not installed.
    """
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    return _opener(scheme, url)(url, **options)


def _open_memory(url: str, **options: Any) -> Store:
    if url.rstrip("/") != "memory:":
        raise ConfigurationError("the memory store's URL is memory:// with nothing behind it")
    return MemoryStore(**options)


def _open_sqlite(url: str, **options: Any) -> Store:
    if not url.startswith("sqlite:///"):
        raise ConfigurationError(
            "a SQLite URL is sqlite:///file.db, or sqlite:////var/lib/file.db for an absolute path"
        )
    return SQLiteStore(url.removeprefix("sqlite:///"), **options)


_OPENERS: dict[str, Opener] = {"memory": _open_memory, "sqlite": _open_sqlite}

_DRIVEN = {
    "mongodb": "MongoDBStore",
    "mongodb+srv": "MongoDBStore",
    "mysql": "MySQLStore",
    "mysql+pymysql": "MySQLStore",
    "postgres": "PostgresStore",
    "postgresql": "PostgresStore",
    "redis": "RedisStore",
    "redis+cluster": "RedisStore",
    "redis+sentinel": "RedisStore",
    "rediss": "RedisStore",
    "unix": "RedisStore",
}


def _opener(scheme: str, url: object) -> Opener:
    if scheme in _OPENERS:
        return _OPENERS[scheme]
    if scheme in _DRIVEN:
        return cast("Opener", import_store(_DRIVEN[scheme]))
    announced = {each.name: each for each in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in announced:
        return cast("Opener", announced[scheme].load())
    known = ", ".join(f"{name}://" for name in sorted(_OPENERS.keys() | _DRIVEN.keys() | announced.keys()))
    got = f"{scheme}://" if scheme else type(url).__name__ if not isinstance(url, str) else "no scheme"
    raise ConfigurationError(f"open_store() takes a URL that starts with one of {known}; got {got}")
