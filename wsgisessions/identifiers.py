"""Making, checking and hashing session IDs.

An ID is 192 random bits as 32 URL-safe characters (OWASP asks for 64 bits of entropy at least). A
store sees only its SHA-256, so neither a leaked dump nor the timing of a look-up yields a live ID.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_RANDOM_BYTES = 24
_well_formed = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII).fullmatch


def new_session_id() -> str:
    """Return a new, unguessable session ID."""
    return secrets.token_urlsafe(_RANDOM_BYTES)


def is_session_id(text: str) -> bool:
    """Tell whether a text from a client has the form of a session ID."""
    return _well_formed(text) is not None


def hash_session_id(session_id: str) -> str:
    """Return the key under which a store knows the session: the ID's SHA-256 in hexadecimal."""
    return hashlib.sha256(session_id.encode("ascii")).hexdigest()
