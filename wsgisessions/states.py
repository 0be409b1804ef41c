"""The states of a request: where its response is, what is known of its session, and what becomes of that."""

from __future__ import annotations

from enum import Enum, auto


class Phase(Enum):
    """Where the response is."""

    WAITING = auto()
    """Its headers are kept back, so the client can still be told of a new ID."""
    COMMITTED = auto()
    """Its session is committed, and its headers are complete; they have not left yet."""
    SENT = auto()
    """Its headers have left, and its body is on the way."""
    ENDED = auto()
    """It is over: what is changed now, only `Session.save()` commits."""
    REPLACED = auto()
    """The app failed before its headers left: nothing more of the app's is sent."""


class Presented(Enum):
    """What the client sent as session IDs."""

    NOTHING = auto()
    MALFORMED = auto()
    """Something that no session of ours can have as its ID."""
    WELL_FORMED = auto()


class RequestState(Enum):
    """What is known of the session."""

    UNLOADED = auto()
    """The store has not been asked."""
    NEW = auto()
    """The store has none of the presented sessions, or this request ends the one that it had."""
    STORED = auto()
    """The store has it."""
    MOVED = auto()
    """A parallel request has given it another ID, which only that request's client is told."""
    GONE = auto()
    """The store has it no more, and nobody would learn of another one's ID."""


class Ending(Enum):
    """What the request does to the session that was presented."""

    NOTHING = auto()
    CLEARED = auto()
    """It ends, unless the request fails."""
    FLUSHED = auto()
    """It ends, whatever becomes of the request."""


class Told(Enum):
    """What the response tells the client."""

    NOTHING = auto()
    ISSUED = auto()
    """The ID that the session has now, under its present deadline."""
    REMOVED = auto()
    """To forget the ID that it presents."""


# The members by name: before CPython 3.12, `Phase.WAITING` costs as much as a call of a function.
WAITING, COMMITTED, SENT, ENDED, REPLACED = Phase
NOTHING_PRESENTED, MALFORMED, WELL_FORMED = Presented
UNLOADED, NEW, STORED, MOVED, GONE = RequestState
NOT_ENDED, CLEARED, FLUSHED = Ending
NOTHING_TOLD, ISSUED, REMOVED = Told
