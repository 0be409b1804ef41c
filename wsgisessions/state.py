"""The life of one session within one request: what was presented, found, changed and announced.

Made at the first use of a `Session`. `Session` guards it with its lock, `SessionManager` moves it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from .codec import Codec
from .contents import OWN_CLIENT, OWN_EXPIRY, Contents, has_lone_surrogate
from .devices import Client
from .errors import DecodeError, SessionError
from .expiry import Expiry, load_expiry
from .identifiers import hash_session_id, is_session_id
from .record import Record
from .sealing import Seal

_MOST_CANDIDATES = 3

_logger = logging.getLogger("wsgisessions")


class Carrier(Protocol):
    """What brought the request's session ID, and takes a new one back.

    All `Session` objects of one carrier are the same session, each framework's in its own class.
    """

    state: State | None
    """None until the session is used."""

    @property
    def can_deliver(self) -> bool:
        """Whether the client can still be given an ID: false once the headers have left."""
        ...

    def session_ids(self) -> Sequence[str]:
        """Return what the client presents as session IDs, well-formed or not."""
        ...

    def client(self) -> Client:
        """Return who sent the request, as far as that is known."""
        ...


class Notice(Enum):
    """What the client must be told."""

    NOTHING = auto()
    ISSUE = auto()
    """It gets an ID, or the one it has under a new deadline."""
    WITHDRAW = auto()
    """What it presented is of no use."""


@dataclass(slots=True)
class Stored:
    """A session that the store has: its ID, the ID's hash, and its record as this request knows it."""

    session_id: str = field(repr=False)
    key: str = field(repr=False)
    record: Record = field(repr=False)
    seal: Seal | None = field(default=None, repr=False)


class State:
    """Which session this is, and what the request did to it."""

    __slots__ = (
        "candidates",
        "carrier",
        "contents",
        "cycles_id",
        "expiry",
        "expiry_changed",
        "flushed",
        "is_loaded",
        "lock",
        "lock_holder",
        "new_owner",
        "notice",
        "own_texts",
        "stored",
        "token",
        "untried",
        "was_modified",
        "was_presented",
        "was_read",
    )

    def __init__(self, carrier: Carrier, codec: Codec) -> None:
        presented = carrier.session_ids()
        self.lock = threading.RLock()
        self.carrier = carrier
        self.was_presented = bool(presented)
        # A browser sends the cookies of an old Path or Domain too; any of them may be the live one.
        self.candidates = [text for text in presented if is_session_id(text)][:_MOST_CANDIDATES]
        self.untried: list[str] = []
        self.flushed: list[str] = []
        self.notice = Notice.NOTHING
        self.was_modified = False
        self.token: str | None = None
        self.lock_holder: int | None = None
        self.become_unloaded(codec)

    def become_unloaded(self, codec: Codec) -> None:
        """Forget what was loaded and changed; the candidates stay."""
        self.contents = Contents(codec)
        self.is_loaded = False
        self.was_read = False
        self.stored: Stored | None = None
        self.own_texts: dict[str, str] = {}
        self.expiry: Expiry | None = None
        self.expiry_changed = False
        self.new_owner: str | None = None
        self.cycles_id = False

    def become_new(self, codec: Codec) -> None:
        """Forget the session altogether; the next write starts another."""
        self.become_unloaded(codec)
        self.candidates = []
        self.is_loaded = True

    def attach(self, session_id: str, key: str, record: Record, seal: Seal | None = None) -> None:
        """Take a session that the store had."""
        self.untried += self.candidates[self.candidates.index(session_id) + 1 :]
        self.candidates = [session_id]
        self.stored = Stored(session_id, key, record, seal)
        self.is_loaded = True
        texts = record.values
        if OWN_EXPIRY in texts or OWN_CLIENT in texts:
            texts, self.own_texts = split_texts(texts)
            if not self.expiry_changed:
                self.expiry = self._own_expiry()
        self.contents.attach(texts)

    def _own_expiry(self) -> Expiry | None:
        return _stored_expiry(self.own_texts[OWN_EXPIRY]) if OWN_EXPIRY in self.own_texts else None

    def attach_nothing(self) -> None:
        """Learn that the store has none of the presented sessions."""
        self.candidates = []
        self.is_loaded = True
        if self.was_presented:
            self.notice = Notice.WITHDRAW

    def detach(self) -> None:
        """Learn that the session is gone, and keep what was written to go into a new one."""
        self.stored = None
        self.own_texts = {}
        if not self.expiry_changed:
            self.expiry = None
        self.cycles_id = False
        self.contents.attach({})
        self.attach_nothing()

    def settle(self, stored: Stored, texts: Mapping[str, str], merged: Iterable[str] = ()) -> None:
        """Take what was committed as what is stored."""
        self.stored = stored
        self.candidates = [stored.session_id]
        self.contents.commit(texts, merged)
        self._forget_intentions()

    def _forget_intentions(self) -> None:
        self.expiry_changed = False
        self.new_owner = None
        self.cycles_id = False

    def undo(self) -> None:
        """Drop every change that is not committed; a flush stays."""
        self.contents.discard()
        if self.expiry_changed:
            self.expiry = self._own_expiry()
        self._forget_intentions()

    def flush(self, codec: Codec) -> None:
        """Mark the session, or all that may be it, for deletion."""
        self.flushed.extend(hash_session_id(session_id) for session_id in (*self.candidates, *self.untried))
        self.untried = []
        self.token = None  # the lease has gone with the session
        self.become_new(codec)

    @property
    def owner(self) -> str | None:
        """Whose session it will be after the commit."""
        if self.new_owner is not None:
            return self.new_owner
        return None if self.stored is None else self.stored.record.owner

    def has_intentions(self) -> bool:
        """Tell whether the record itself, not only its values, is to change."""
        return self.new_owner is not None or self.cycles_id or self.expiry_changed

    def is_modified(self) -> bool:
        """Tell whether a commit may have something to write."""
        if self.flushed or self.has_intentions():
            return True
        if not self.is_loaded:
            return self.contents.is_touched()
        return bool(self.contents.changes())

    def require_delivery(self, doing: str) -> None:
        """Refuse what needs a cookie, once none can be sent.

        :raises SessionError: the headers have left.
        """
        if not self.carrier.can_deliver:
            raise SessionError(
                f"{doing} needs a response header, and the headers have left already; do it before the"
                " response's first chunk is sent"
            )


def check_owner(owner: object) -> None:
    """Refuse what is no owner: engines would differ in what they make of it.

    :raises SessionError: it is no str, or holds NUL or a lone surrogate.
    """
    if not isinstance(owner, str):
        raise SessionError(f"an owner is a str, such as str(user.id); got {type(owner).__name__}")
    if "\0" in owner or has_lone_surrogate(owner):
        raise SessionError("an owner cannot hold a NUL character or a lone surrogate")


def split_texts(texts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the app's texts, and this package's own."""
    own = {name: texts[name] for name in (OWN_EXPIRY, OWN_CLIENT) if name in texts}
    return {name: text for name, text in texts.items() if name not in own}, own


def _stored_expiry(text: str) -> Expiry | None:
    try:
        return load_expiry(text)
    except DecodeError:
        _logger.warning(
            "a session's own expiry cannot be read; the manager's applies",
            exc_info=True,
        )
        return None
