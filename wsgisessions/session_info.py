"""Where an owner is signed in: what `manager.sessions(owner)` tells of each session."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec

KeepClient = Literal["plain", "hashed"]

_LONGEST = 256
_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request: the browser's name for itself, and its address."""

    user_agent: str | None = None
    address: str | None = None


def client_of(environ: Mapping[str, Any]) -> Client:
    """Return who sent a request."""
    return Client(environ.get("HTTP_USER_AGENT"), environ.get("REMOTE_ADDR"))


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One of an owner's sessions. Times are aware UTC.

    `handle` names it to `manager.revoke()`; nobody can resume the session with it. A new session ID
    (`cycle_id`, `login`) is a new handle. `last_seen` is accurate to a tenth of the idle time.
    """

    handle: str = field(repr=False)
    created_at: datetime
    last_seen: datetime
    expires_at: datetime
    is_current: bool
    user_agent: str | None
    address: str | None


def dump_client(client: Client, keep: KeepClient, owner: str) -> str:
    """Return the text under which the client that logged in is stored."""
    parts = [client.user_agent, client.address]
    if keep == "hashed":
        parts = [None if part is None else _hashed(part, owner) for part in parts]
    return msgspec.json.encode([None if part is None else part[:_LONGEST] for part in parts]).decode()


def load_client(text: str | None) -> Client:
    """Return what `dump_client` wrote; an empty one if it cannot be read."""
    try:
        return Client(*msgspec.json.decode(text or "[]", type=tuple[str | None, str | None]))
    except msgspec.MsgspecError:
        return Client()


def _hashed(text: str, owner: str) -> str:
    # With the owner in it, the same address of two owners looks different.
    return hashlib.sha256(f"{owner}\0{text}".encode("utf-8", "replace")).hexdigest()[:_HASH_LENGTH]
