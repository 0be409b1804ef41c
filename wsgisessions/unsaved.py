"""Telling the log what is not saved: an app's changes that its failure drops, and those that come too late."""

from __future__ import annotations

import logging

from .errors import SessionError
from .request_state import RequestSession
from .states import CLEARED, FLUSHED, STORED

_MOST_NAMED = 20

_logger = logging.getLogger("wsgisessions")


def tell_dropped(current: RequestSession) -> None:
    """Say what a request that failed would have saved, once a request."""
    names = _unsaved(current)
    if names and not current.was_told_dropped:
        current.was_told_dropped = True
        _logger.warning(
            "a request failed, so what it changed in its session was dropped: %s. To keep changes whatever becomes of"
            " the request, call session.save() after making them",
            names,
        )


def tell_too_late(current: RequestSession) -> None:
    """Say what was changed after the end of the request and has not been saved since."""
    with current.lock:
        names = _unsaved(current)
        if current.ending is FLUSHED:
            names = f"{names}, session.flush()" if names else "session.flush()"
    if names:
        _logger.warning(
            "a session was changed after its request was over, and nobody has saved it: %s. A thread that outlives its"
            " request calls session.save() after its changes",
            names,
        )


def tell_abandoned(current: RequestSession) -> None:
    """Say what was changed while a body was made that the server has neither read to its end nor closed."""
    names = _unsaved(current)
    if names:
        _logger.warning(
            "a response's body was neither read to its end nor closed (PEP 3333), so what was changed in its session"
            " was not saved: %s. To keep changes whatever the server does, call session.save() after making them",
            names,
        )


def _unsaved(current: RequestSession) -> str:
    """Return what is not committed: the names of keys, never a value."""
    changes = current.changes
    try:
        difference = changes.difference()
        keys = [] if difference is None else sorted({*difference.set, *difference.remove})
    except SessionError:  # a value that can no longer be kept
        keys = sorted({*changes.assigned, *changes.removed, *changes.live})
    names = [repr(key) for key in keys[:_MOST_NAMED]]
    if len(keys) > _MOST_NAMED:
        names.append(f"{len(keys) - _MOST_NAMED} keys more")
    if current.ending is CLEARED:
        names.append("session.clear()")
    if current.new_owner is not None:
        names.append("session.login()")
    if current.state is STORED and current.new_expiry is not None:
        names.append("session.expiry")
    return ", ".join(names)
