"""Opening a store by its URL; a store's driver is imported when its scheme is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from .base import Store

ENTRY_POINT_GROUP = "wsgisessions.stores"
"""Where other packages announce theirs: the scheme is the entry point's name, and the object is
called with the URL and the options of `open_store`."""

_BUILT_IN = {
    "memory": "wsgisessions.stores.opening:_open_memory",
    "sqlite": "wsgisessions.stores.opening:_open_sqlite",
}


class Opener(Protocol):
    """Makes a store from a URL."""

    def __call__(self, url: str, **options: Any) -> Store:
        """Return the store, without any I/O."""
        ...


def open_store(url: str, **options: Any) -> Store:
    """Return the store that a URL names: `memory://`, `sqlite:///file.db` (`////` for an absolute path).

    No I/O happens before the store's first use.

    :param options: keyword arguments for the store's constructor.
    :raises ConfigurationError: the URL's scheme is unknown, or the URL is malformed.
    """
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    return _opener(scheme, url)(url, **options)


def _opener(scheme: str, url: object) -> Opener:
    if scheme in _BUILT_IN:
        module, _, name = _BUILT_IN[scheme].partition(":")
        return cast("Opener", getattr(import_module(module), name))
    announced = {each.name: each for each in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme in announced:
        return cast("Opener", announced[scheme].load())
    known = ", ".join(f"{name}://" for name in sorted(_BUILT_IN.keys() | announced.keys()))
    got = f"{scheme}://" if scheme else type(url).__name__ if not isinstance(url, str) else "no scheme"
    raise ConfigurationError(f"open_store() takes a URL that starts with one of {known}; got {got}")


def _open_memory(url: str, **options: Any) -> Store:
    from .memory import MemoryStore

    if url.rstrip("/") != "memory:":
        raise ConfigurationError("the memory store's URL is memory:// with nothing behind it")
    return MemoryStore(**options)


def _open_sqlite(url: str, **options: Any) -> Store:
    from .sqlite import SQLiteStore

    if not url.startswith("sqlite:///"):
        raise ConfigurationError(
            "a SQLite URL is sqlite:///file.db, or sqlite:////var/lib/file.db for an absolute path"
        )
    return SQLiteStore(url.removeprefix("sqlite:///"), **options)
