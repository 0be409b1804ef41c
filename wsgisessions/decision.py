"""What a commit does: the table in docs/commit.md, as one function that decides.

`commit.py` finds out what is known of the request, and carries out what is decided here.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from .states import (
    CLEARED,
    FLUSHED,
    GONE,
    MOVED,
    NOT_ENDED,
    STORED,
    WAITING,
    WELL_FORMED,
    Ending,
    Phase,
    Presented,
    RequestState,
)


class Result(Enum):
    """What became of the app."""

    SUCCEEDED = auto()
    FAILED = auto()
    """It answered 5xx: no data is saved, and the client can still be told of a new ID."""
    RAISED = auto()
    """It raised, or never came to its headers: no data is saved, and the client can be told nothing."""


class Change(Enum):
    """What the app did to the keys."""

    UNCHANGED = auto()
    CHANGED = auto()
    EMPTIED = auto()
    """It removed the last key of a session without an owner."""


class Asked(Enum):
    """What the app asked for beside that; the later ones include the earlier."""

    NOTHING = auto()
    EXPIRY = auto()
    NEW_ID = auto()
    LOGIN = auto()


# As in request_state.py: a member is looked up faster so.
SUCCEEDED, FAILED, RAISED = Result
UNCHANGED, CHANGED, EMPTIED = Change
NOTHING_ASKED, EXPIRY, NEW_ID, LOGIN = Asked


class Known(msgspec.Struct, frozen=True):
    """What is known of a request when its session is committed."""

    state: RequestState
    presented: Presented
    ending: Ending
    change: Change
    asked: Asked
    result: Result
    phase: Phase
    is_touch_due: bool


class Step(Enum):
    """One command that the store is given."""

    LEAVE_MARK = "1 create (the mark)"
    DELETE = "1 delete"
    CREATE = "1 create"
    UPDATE = "1 update"
    RENAME = "1 rename"
    TOUCH = "1 update (the touch)"
    DELETE_IF_EMPTY = "1 delete if it is still empty"


class Decision(Enum):
    """What the store is asked, step by step, and what the client is told when that is done."""

    NOTHING = ((), "none")
    TOUCH = ((Step.TOUCH,), "`Set-Cookie` if the cookie has a Max-Age")
    UPDATE = ((Step.UPDATE,), "`Set-Cookie` where its Max-Age changes")
    UPDATE_AND_DELETE_IF_EMPTY = ((Step.UPDATE, Step.DELETE_IF_EMPTY), "removal cookie if it was deleted")
    CREATE = ((Step.CREATE,), "`Set-Cookie`")
    MARK_AND_CREATE = ((Step.LEAVE_MARK, Step.CREATE), "new `Set-Cookie`")
    RENAME = ((Step.LEAVE_MARK, Step.RENAME), "new `Set-Cookie`")
    RENAME_AND_DELETE_IF_EMPTY = (
        (Step.LEAVE_MARK, Step.RENAME, Step.DELETE_IF_EMPTY),
        "new `Set-Cookie`; removal cookie if it was deleted",
    )
    DELETE = ((Step.DELETE,), "removal cookie")
    DELETE_AND_CREATE = ((Step.DELETE, Step.CREATE), "new `Set-Cookie`")
    DELETE_ONLY = ((Step.DELETE,), "an error in the log")
    MARK_DELETE_AND_CREATE = ((Step.LEAVE_MARK, Step.DELETE, Step.CREATE), "new `Set-Cookie`")
    INTERRUPT = ((), "400 `SessionInterrupted`")
    UNDELIVERABLE = ((), "an error in the log")

    def __init__(self, steps: tuple[Step, ...], headers: str) -> None:
        self.steps = steps
        self.headers = headers


(
    NOTHING,
    TOUCH,
    UPDATE,
    UPDATE_AND_DELETE_IF_EMPTY,
    CREATE,
    MARK_AND_CREATE,
    RENAME,
    RENAME_AND_DELETE_IF_EMPTY,
    DELETE,
    DELETE_AND_CREATE,
    DELETE_ONLY,
    MARK_DELETE_AND_CREATE,
    INTERRUPT,
    UNDELIVERABLE,
) = Decision


def decide(known: Known) -> Decision:
    """Return what a commit does."""
    if known.result is not SUCCEEDED:
        return _decide_failed(known)
    if known.ending is not NOT_ENDED:
        return _decide_ended(known)
    if known.state is STORED:
        return _decide_stored(known)
    starts_session = known.change is CHANGED or known.asked is LOGIN
    if known.state is MOVED:
        if known.asked is LOGIN:
            return CREATE
        return INTERRUPT if known.change is not UNCHANGED or known.asked is EXPIRY else NOTHING
    if known.state is GONE:
        return INTERRUPT if starts_session or known.asked is EXPIRY else NOTHING
    if not starts_session:
        return NOTHING
    if known.phase is not WAITING:
        return UNDELIVERABLE
    if known.asked is LOGIN and known.presented is WELL_FORMED:
        return MARK_AND_CREATE
    return CREATE


def _decide_failed(known: Known) -> Decision:
    """A failed request saves no data; what protects the visitor still happens."""
    if known.ending is FLUSHED:
        return DELETE
    if known.asked is NEW_ID and known.state is STORED and known.result is FAILED:
        return RENAME
    return NOTHING


def _decide_ended(known: Known) -> Decision:
    """The session that was presented ends; what was written since is a new one."""
    if known.change is not CHANGED and known.asked is not LOGIN:
        return DELETE
    if known.phase is not WAITING:
        return DELETE_ONLY
    if known.presented is WELL_FORMED and (known.ending is CLEARED or known.asked is LOGIN):
        return MARK_DELETE_AND_CREATE
    return DELETE_AND_CREATE


def _decide_stored(known: Known) -> Decision:
    """The store has the session."""
    if known.asked in (NEW_ID, LOGIN):
        if known.phase is not WAITING:
            return UNDELIVERABLE
        return RENAME if known.change is not EMPTIED else RENAME_AND_DELETE_IF_EMPTY
    if known.change is EMPTIED:
        return UPDATE_AND_DELETE_IF_EMPTY
    if known.change is CHANGED or known.asked is EXPIRY:
        return UPDATE
    return TOUCH if known.is_touch_due else NOTHING
