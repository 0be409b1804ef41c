"""Server-side sessions for any WSGI app, whose commits are atomic patches of single keys."""

from typing import TYPE_CHECKING, Any

from . import merge
from .codec import Codec, JSONCodec
from .errors import (
    ConfigurationError,
    DecodeError,
    EncodeError,
    LockLost,
    LockTimeout,
    SessionConflict,
    SessionError,
    SessionInterrupted,
    SessionTooLarge,
    StoreError,
    StoreUnavailable,
)
from .expiry import AtDateTime, Expiry, OnInactivity, OnSessionEnd
from .manager import SessionManager
from .middleware import SessionMiddleware, get_session
from .session import Session
from .stores import Outcome, Patch, Record, Store, open_store
from .stores.caching import CachingStore
from .stores.drivers import DRIVEN_STORES, import_store
from .stores.memory import MemoryStore
from .stores.sqlite import SQLiteStore
from .transports import Cookie, Transport

if TYPE_CHECKING:
    from .stores.mongodb import MongoDBStore
    from .stores.mysql import MySQLStore
    from .stores.postgres import PostgresStore
    from .stores.redis import RedisStore

__version__ = "0.1.0"

__all__ = [
    "AtDateTime",
    "CachingStore",
    "Codec",
    "ConfigurationError",
    "Cookie",
    "DecodeError",
    "EncodeError",
    "Expiry",
    "JSONCodec",
    "LockLost",
    "LockTimeout",
    "MemoryStore",
    "MongoDBStore",
    "MySQLStore",
    "OnInactivity",
    "OnSessionEnd",
    "Outcome",
    "Patch",
    "PostgresStore",
    "Record",
    "RedisStore",
    "SQLiteStore",
    "Session",
    "SessionConflict",
    "SessionError",
    "SessionInterrupted",
    "SessionManager",
    "SessionMiddleware",
    "SessionTooLarge",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Transport",
    "get_session",
    "merge",
    "open_store",
]


def __getattr__(name: str) -> Any:
    # PEP 562: a driver is imported when its store is asked for.
    if name in DRIVEN_STORES:
        return import_store(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
