"""Server-side sessions for any WSGI app, whose commits are atomic patches of single keys."""

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
from .stores.memory import MemoryStore
from .stores.sqlite import SQLiteStore
from .transports import Cookie, Transport

__version__ = "0.1.0"

__all__ = [
    "AtDateTime",
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
    "OnInactivity",
    "OnSessionEnd",
    "Outcome",
    "Patch",
    "Record",
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
