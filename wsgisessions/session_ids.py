"""Making, checking and hashing session IDs.

An ID is 192 random bits as 32 URL-safe characters (OWASP asks for 64 bits of entropy at least). A
store sees only its SHA-256, so neither a leaked dump nor the timing of a look-up yields a live ID.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256

import msgspec

from .discreet import show_nothing

_RANDOM_BYTES = 24
_HANDLE_PREFIX = 8

ID_LENGTH = 32
"""How many characters a session ID has."""


class PresentedID(msgspec.Struct, frozen=True):
    """What a client presents as a session ID, well-formed or not, and whether its form is to be written anew."""

    text: str
    is_outdated: bool = False

    def __repr__(self) -> str:
        return "<PresentedID>"

    __rich_repr__ = show_nothing


is_well_formed = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII).fullmatch
"""Match a text from a client that has the form of a session ID."""

is_handle = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
"""Match a text that has the form of an ID hash."""


class SessionID:
    """The secret that a client holds, with the hash under which a store knows it.

    `id_hash` is the SHA-256 of the ID, in hexadecimal. It is also the handle that operators use, and
    `repr` shows the first characters of that: an ID that reaches a log or an error tracker stays secret.

    :param text: a well-formed ID.
    :param namespace: bound into the hash, so that apps which share a store share no session.
    """

    __slots__ = ("id_hash", "text")

    def __init__(self, text: str, namespace: str = "") -> None:
        self.text = text
        bound = f"{namespace}:{text}" if namespace else text
        self.id_hash = sha256(bound.encode()).hexdigest()

    @classmethod
    def new(cls, namespace: str = "") -> SessionID:
        """Return a new, unguessable ID."""
        return cls(secrets.token_urlsafe(_RANDOM_BYTES), namespace)

    def __repr__(self) -> str:
        return f"<SessionID {self.id_hash[:_HANDLE_PREFIX]}>"


def moved_hash(id_hash: str) -> str:
    """Return the hash under which the mark of a moved session stands.

    It is another than the ID hash itself, at which every method of a store answers that nothing is there.
    """
    return sha256(f"moved:{id_hash}".encode()).hexdigest()
