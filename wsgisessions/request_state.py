"""One session within one request: what was presented, found and asked for, and what the client must be told.

`Session` guards it with its lock; `loading.py` and `commit.py` move it from state to state.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from .changes import Changes
from .discreet import show_nothing
from .errors import DecodeError, SessionError
from .expiry import Expiry, load_expiry
from .forking import call_after_fork
from .options import Settings
from .record import Record
from .reserved_fields import EXPIRY_FIELD, RESERVED_FIELDS, split_fields
from .seal import Seal
from .session_ids import SessionID, is_well_formed
from .states import (
    CLEARED,
    FLUSHED,
    GONE,
    MALFORMED,
    MOVED,
    NEW,
    NOT_ENDED,
    NOTHING_PRESENTED,
    NOTHING_TOLD,
    STORED,
    UNLOADED,
    WAITING,
    WELL_FORMED,
    Ending,
    Phase,
    RequestState,
)
from .transports import MOST_TRIED, Transport

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_MOST_ENDED = 20

# One for all requests, which need it for a moment only: a lock for each would cost those too that use no session.
# Reentrant, for the garbage collector may run a finalizer that uses another session inside.
_first_use = threading.RLock()


_logger = logging.getLogger("wsgisessions")


class Exchange(msgspec.Struct, eq=False, weakref=True):
    """A request and its response, as its session sees them.

    All `Session` objects of one exchange are the same session, each framework's in its own class.
    """

    settings: Settings
    transport: Transport
    environ: WSGIEnvironment
    phase: Phase = WAITING
    current: RequestSession | None = None
    """None until the session is used. It does not refer back: what is done with is freed at once."""
    must_exist: bool = False
    """Whether no session may be started instead of the presented one, since nobody would learn its ID."""

    def use(self) -> RequestSession:
        """Return what is known of the session; at the first use, that is what the client presents."""
        if self.current is not None:
            return self.current
        current = RequestSession(self)
        with _first_use:
            if self.current is None:
                self.current = current
            return self.current

    def release_environ(self) -> None:
        """Keep only what a late look at the session needs of the environ.

        The environ refers to the session, and so to this: all of it would wait for the garbage collector.
        """
        environ, kept = self.environ, {}
        for name in self.transport.variables:
            if name in environ:
                kept[name] = environ[name]
        self.environ = kept

    def require_delivery(self, doing: str) -> None:
        """Refuse what needs a response header, once none can be sent.

        :raises SessionError: the headers have left.
        """
        if self.phase is not WAITING:
            raise SessionError(
                f"{doing} needs a response header, and the headers have left already; do it before the"
                " response's first chunk is sent, in Flask before its last after_request function ends"
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.phase.name}>"

    __rich_repr__ = show_nothing


def _renew_lock(_: type[Exchange]) -> None:
    global _first_use
    _first_use = threading.RLock()


call_after_fork(Exchange, _renew_lock)


class Stored(msgspec.Struct, eq=False):
    """A session that the store has, as this request knows it."""

    session_id: SessionID
    record: Record
    seal: Seal | None = None

    __rich_repr__ = show_nothing


class HeldLock(msgspec.Struct, eq=False):
    """The session's lock, held by a thread of this request."""

    token: str
    thread: int

    def __repr__(self) -> str:
        return "<HeldLock>"

    __rich_repr__ = show_nothing


class Cleared(msgspec.Struct, eq=False):
    """What was known of a session when the app cleared it, should the request fail."""

    state: RequestState
    stored: Stored | None
    base: Mapping[str, str]
    own_fields: Mapping[str, str]
    own_expiry: Expiry | None

    def __repr__(self) -> str:
        return f"<Cleared {self.state.name}>"

    __rich_repr__ = show_nothing


class RequestSession:
    """Which session this is, and what the request does to it; made at the first use of a `Session`.

    Reads what the client presents, and asks no store yet.
    """

    __slots__ = (
        "candidates",
        "changes",
        "changes_id",
        "cleared",
        "ended",
        "ending",
        "has_saved",
        "held_lock",
        "is_watched",
        "lock",
        "new_expiry",
        "new_owner",
        "outdated",
        "own_expiry",
        "own_fields",
        "presented",
        "renews_on_read",
        "state",
        "stored",
        "told",
        "was_read",
        "was_told_dropped",
    )

    def __init__(self, exchange: Exchange) -> None:
        self.lock = threading.RLock()
        self.changes = Changes(exchange.settings.codec)
        self.state = UNLOADED
        self.stored: Stored | None = None
        # The package's own fields beside the app's, and what they say of the session's end.
        self.own_fields: Mapping[str, str] = {}
        self.own_expiry: Expiry | None = None
        # What the app asks for.
        self.new_expiry: Expiry | None = None
        self.new_owner: str | None = None
        self.changes_id = False
        self.renews_on_read = True
        # Whether the app knows what is inside: if the session is gone then, its changes are refused.
        self.was_read = False
        # The IDs of the sessions that a commit deletes, and what was known before.
        self.ending = NOT_ENDED
        self.ended: list[SessionID] = []
        self.cleared: Cleared | None = None
        self.told = NOTHING_TOLD
        self.held_lock: HeldLock | None = None
        self.has_saved = False
        # Whether the log has been told what the request's failure drops, and will be told what nobody saves.
        self.was_told_dropped = self.is_watched = False
        # The well-formed IDs that were presented, the one that was found before the others, and those of them that
        # the client is to be given in a new form.
        self.presented = NOTHING_PRESENTED
        self.candidates: list[SessionID] = []
        self.outdated: list[SessionID] = []
        for each in exchange.transport.read(exchange.environ, MOST_TRIED):
            self.presented = MALFORMED
            if is_well_formed(each.text):
                session_id = SessionID(each.text, exchange.settings.namespace)
                self.candidates.append(session_id)
                if each.is_outdated:
                    self.outdated.append(session_id)
                if len(self.candidates) == MOST_TRIED:
                    break
        if self.candidates:
            self.presented = WELL_FORMED

    def __repr__(self) -> str:
        return f"<RequestSession {self.state.name} {self.changes!r}>"

    @property
    def owner(self) -> str | None:
        """Whose session it will be after the commit, as the store names the owner."""
        if self.new_owner is not None:
            return self.new_owner
        return None if self.stored is None else self.stored.record.owner

    @property
    def expiry(self) -> Expiry | None:
        """When it will end after the commit, if not as the others do."""
        return self.new_expiry or self.own_expiry

    @property
    def lost_owner(self) -> bool:
        """Whether a session that had an owner was cleared."""
        if self.ending is not CLEARED or self.cleared is None or self.cleared.stored is None:
            return False
        return self.cleared.stored.record.owner is not None

    @property
    def has_intentions(self) -> bool:
        """Whether something is asked for beside changes of keys."""
        return (
            self.changes_id or self.new_expiry is not None or self.new_owner is not None or self.ending is not NOT_ENDED
        )

    @property
    def may_have_changed(self) -> bool:
        """Whether a commit may have something to write; nothing is compared."""
        changes = self.changes
        return self.has_intentions or bool(changes.assigned or changes.removed or changes.live)

    # --- what the store has

    def become_stored(self, session_id: SessionID, record: Record, seal: Seal | None) -> None:
        """Take a session that the store has."""
        self.state = STORED
        self.stored = Stored(session_id, record, seal)
        if self.candidates[0] is not session_id:
            self.candidates = [session_id, *(each for each in self.candidates if each is not session_id)]
        fields = record.fields
        if not fields.keys().isdisjoint(RESERVED_FIELDS):
            fields = self._take_own_fields(fields)
        self.changes.base = fields

    def become_moved(self, mark: Record) -> None:
        """Learn that a parallel request has changed the ID; what the session held before may be in the mark."""
        self.state = MOVED
        self.changes.base = self._take_own_fields(mark.fields)

    def lose_id(self) -> None:
        """Learn that a parallel request has changed the ID; what was loaded stays."""
        self.state = MOVED
        self.stored = None

    def become_new(self) -> None:
        """Learn that the store has none of the presented sessions; what was written goes into a new one."""
        self.state = NEW
        self.stored = None
        self.own_fields = {}
        self.own_expiry = None
        self.changes_id = False
        self.changes.forget_base()

    def become_unloaded(self) -> None:
        """Forget what was loaded and changed."""
        self.become_new()
        self._drop_changes()
        self.state = UNLOADED

    def become_gone(self) -> None:
        """Learn that the store does not have the session, and that nobody could be told of another."""
        self.become_new()
        self.state = GONE

    def lose(self, fields: Mapping[str, str]) -> None:
        """Learn that the store has the session no more, when keys were to be removed; the others can still be read."""
        self.state = GONE
        self.stored = None
        self.changes.commit(fields)

    def settle(self, stored: Stored, fields: Mapping[str, str], merged: Iterable[str] = ()) -> None:
        """Take what was committed as what the store has."""
        before, self.stored = self.stored, stored
        self.state = STORED
        self.has_saved = True
        if before is None or before.session_id is not stored.session_id:
            dead = None if before is None else before.session_id
            self.candidates = [stored.session_id, *(each for each in self.candidates if each is not dead)]
        if self.own_fields or self.new_expiry is not None or self.new_owner is not None:
            fields, own_fields = split_fields(fields)
            self.own_fields = {**self.own_fields, **own_fields}
        if self.new_expiry is not None:
            self.own_expiry = self.new_expiry
        self.new_expiry = self.new_owner = None
        self.changes_id = False
        self.changes.commit(fields, merged)

    def _take_own_fields(self, fields: Mapping[str, str]) -> Mapping[str, str]:
        others, self.own_fields = split_fields(fields)
        self.own_expiry = stored_expiry(self.own_fields)
        return others

    # --- what the app asks for

    def ask_expiry(self, expiry: Expiry | None, default: Expiry) -> None:
        """Ask for another expiry; the one that the session has, once that is known, is none to ask for."""
        has_it = self.state is not UNLOADED and expiry == (self.own_expiry or default)
        self.new_expiry = None if has_it else expiry

    def end(self, ending: Ending, exchange: Exchange) -> None:
        """End the session, or all that may be it; what is written afterwards starts another."""
        namespace = exchange.settings.namespace
        read = exchange.transport.read(exchange.environ, _MOST_ENDED)
        presented = [SessionID(each.text, namespace) for each in read if is_well_formed(each.text)][:_MOST_ENDED]
        for session_id in (*self.candidates, *presented):
            if all(each.id_hash != session_id.id_hash for each in self.ended):
                self.ended.append(session_id)
        if self.ended or self.presented is not NOTHING_PRESENTED:
            if self.ending is NOT_ENDED:
                base = self.changes.base
                self.cleared = Cleared(self.state, self.stored, base, self.own_fields, self.own_expiry)
            if self.ending is not FLUSHED:
                self.ending = ending
        if self.ending is FLUSHED:
            self.candidates = []  # nothing undoes it
        self.held_lock = None  # the lease goes with the session
        self._drop_changes()
        self.become_new()

    def undo(self) -> None:
        """Drop every change that is not committed; a flush stays."""
        cleared = self.cleared
        if self.ending is CLEARED and cleared is not None:
            self.state, self.stored, self.changes.base = cleared.state, cleared.stored, cleared.base
            self.own_fields, self.own_expiry = cleared.own_fields, cleared.own_expiry
            self.forget_ending()
        self._drop_changes()

    def forget_ending(self) -> None:
        """Know that what was to be ended has been, or will not be."""
        self.ended = []
        self.ending = NOT_ENDED
        self.cleared = None

    def _drop_changes(self) -> None:
        self.changes.discard()
        self.new_expiry = self.new_owner = None
        self.changes_id = False


def stored_expiry(fields: Mapping[str, str]) -> Expiry | None:
    """Return when a session ends, if not as the others do."""
    text = fields.get(EXPIRY_FIELD)
    try:
        return None if text is None else load_expiry(text)
    except DecodeError:
        _logger.warning("a session's own expiry cannot be read; the manager's applies", exc_info=True)
        return None
