"""What crosses between a session and its store.

Times are aware UTC datetimes. Keys of `values`, `set`, `remove` and `expect` are session keys; the
texts are the codec's and opaque to everyone else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum, auto

RESERVED_PREFIX = "wsgisessions."
"""Starts the session keys of what this package keeps for itself; the app can neither see nor take them."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the present as an aware UTC datetime."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, slots=True)
class Record:
    """A session as its store keeps it.

    `touched_at` is when `expires_at` was last set; the two move together, stamped by the store.
    """

    values: Mapping[str, str] = field(repr=False)
    created_at: datetime
    touched_at: datetime
    expires_at: datetime
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of single keys, applied whole or not at all.

    Applied in this order: `clear` drops every key, `remove` drops the ones it names, `set` stores
    its texts. `expires_at` (and with it `touched_at`) and `owner` replace the record's unless None.

    `expect` names texts that must be there before anything is applied (None: the key must be
    absent), and `token` a lease that must be running; else the outcome is `CONFLICT`.
    """

    set: Mapping[str, str] = field(default_factory=dict, repr=False)
    remove: Collection[str] = ()
    clear: bool = False
    expect: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    expires_at: datetime | None = None
    owner: str | None = None
    token: str | None = field(default=None, repr=False)


class Outcome(Enum):
    """What became of a patch."""

    DONE = auto()
    GONE = auto()
    """The session is absent or expired; nothing was written."""
    CONFLICT = auto()
    """An expectation failed, the lease is not running, or the new key is taken; nothing was written."""
