"""What crosses between a session and its store.

Times are aware UTC datetimes. A field is a key of the session as the store sees it; its text is the
codec's and opaque to everyone else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from enum import Enum, auto
from functools import partial

import msgspec

from .discreet import show_nothing

RESERVED_PREFIX = "wsgisessions."
"""Starts the names of fields that this package keeps for itself; the app can neither see nor take them."""

Clock = Callable[[], datetime]

utc_now: Clock = partial(datetime.now, timezone.utc)
"""Return the present as an aware UTC datetime."""


class Record(msgspec.Struct, frozen=True):
    """A session as its store keeps it; `repr` shows the fields' names only.

    `touched_at` is when `expires_at` was last set; the two move together, stamped by the store.
    """

    fields: Mapping[str, str]
    created_at: datetime
    touched_at: datetime
    expires_at: datetime
    owner: str | None = None

    def __repr__(self) -> str:
        owned = "nobody" if self.owner is None else "somebody"
        return f"<Record of {owned} with {sorted(self.fields)}, expires_at={self.expires_at:%Y-%m-%dT%H:%M:%S%z}>"

    __rich_repr__ = show_nothing


class Patch(msgspec.Struct, frozen=True):
    """A change of single fields, applied whole or not at all; `repr` shows the fields' names only.

    `remove` drops the fields that it names, then `set` stores its texts. `expires_at` (and with it
    `touched_at`) and `owner` replace the record's unless None.

    `expect` names texts that must be there before anything is applied (None: the field must be
    absent), and `token` a lease that must be running; else the outcome is `CONFLICT`.
    """

    set: Mapping[str, str] = {}
    remove: Collection[str] = ()
    expect: Mapping[str, str | None] = {}
    expires_at: datetime | None = None
    owner: str | None = None
    token: str | None = None

    def applied_to(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return a record's fields as they are after this patch."""
        if self.remove:
            fields = {name: text for name, text in fields.items() if name not in self.remove}
        return {**fields, **self.set}

    def __repr__(self) -> str:
        return f"<Patch set={sorted(self.set)} remove={sorted(self.remove)} expect={sorted(self.expect)}>"

    __rich_repr__ = show_nothing


class Outcome(Enum):
    """What became of a patch."""

    DONE = auto()
    GONE = auto()
    """The session is absent or expired; nothing was written."""
    CONFLICT = auto()
    """An expectation failed, the lease is not running, or the new ID hash is taken; nothing was written."""


DONE, GONE, CONFLICT = Outcome
