"""Server-side sessions for any WSGI app, whose commits are atomic patches of single fields."""

from typing import TYPE_CHECKING, Any

from . import merge
from .codec import Codec, JSONCodec
from .cookies import Cookie
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
from .middleware import SessionMiddleware
from .session import Session, get_session
from .session_info import SessionInfo
from .stores import Outcome, Patch, Record, Store, open_store
from .stores.caching import CachingStore
from .stores.drivers import DRIVEN_STORES, import_store
from .stores.memory import MemoryStore
from .stores.sqlite import SQLiteStore
from .transports import Header, Transport

if TYPE_CHECKING:
    from .stores.mongodb import MongoDBStore as MongoDBStore
    from .stores.mysql import MySQLStore as MySQLStore
    from .stores.postgres import PostgresStore as PostgresStore
    from .stores.redis import RedisStore as RedisStore

__version__ = "0.1.0"

# Without the stores that need a driver, which `from wsgisessions import *` must not import.
__all__ = [
    "AtDateTime",
    "CachingStore",
    "Codec",
    "ConfigurationError",
    "Cookie",
    "DecodeError",
    "EncodeError",
    "Expiry",
    "Header",
    "JSONCodec",
    "LockLost",
    "LockTimeout",
    "MemoryStore",
    "OnInactivity",
    "OnSessionEnd",
    "Outcome",
    "Patch",
    "Record",
    "SQLiteStore",
    "Session",
    "SessionConflict",
    "SessionError",
    "SessionInfo",
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

if not TYPE_CHECKING:  # else type checkers would take any name for one of this module

    def __getattr__(name: str) -> Any:
        # PEP 562: a driver is imported when its store is asked for.
        if name in DRIVEN_STORES:
            return import_store(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
