"""Every error that wsgisessions raises. None carries a session ID, a key's hash or a value."""

from __future__ import annotations


class SessionError(Exception):
    """Something about a session went wrong; the root of this package's errors."""


class ConfigurationError(SessionError, ValueError):
    """An option is wrong, found when the object that takes it is made."""


class StoreError(SessionError):
    """The store failed; the driver's own error is the cause."""


class StoreUnavailable(StoreError):
    """The store could not be reached or is busy; trying again later may help (503)."""


class SessionConflict(SessionError):
    """Another request changed a key that this one changed too; nothing was written (409)."""


class SessionInterrupted(SessionError):
    """The session was deleted or ran out while a request that read it wrote to it (400)."""


class SessionTooLarge(SessionError):
    """The session would exceed `max_bytes`; nothing was written, the stored one is intact."""


class LockTimeout(SessionError):
    """Another request held the session's lock for longer than the time-out (503)."""


class LockLost(SessionError):
    """The lock's lease ran out before the commit; nothing was written (409)."""


class EncodeError(SessionError, TypeError):
    """A key or value has no place in a session; raised in the line that assigns it."""


class DecodeError(SessionError, ValueError):
    """A stored value cannot be read, or not as the type that was asked for."""
