"""Telling the log what is not saved: an app's changes that its failure drops, and those that nobody saves."""

from __future__ import annotations

import logging
import threading
from weakref import finalize

from .request_state import Exchange, RequestSession
from .states import CLEARED, FLUSHED, STORED

_MOST_NAMED = 20
_REMEDY = "call session.save() after making them"

_logger = logging.getLogger("wsgisessions")


def tell_dropped(current: RequestSession) -> None:
    """Say what a request that failed, or whose client went away, would have saved. Once a request."""
    names = name_unsaved(current)
    if names and not current.was_told_dropped:
        current.was_told_dropped = True
        _logger.warning(
            "a request failed, so its changes to the session were dropped: %s. To keep changes whatever becomes of the"
            f" request, {_REMEDY}",
            names,
        )


def watch(exchange: Exchange) -> None:
    """See to it that the log is told what is never saved, once the exchange is freed."""
    current = exchange.use()
    if not current.is_watched:
        current.is_watched = True
        finalize(exchange, _tell_unsaved, current)


def name_unsaved(current: RequestSession, *, with_flush: bool = False) -> str:
    """Return what is not committed, separated by commas: the names of keys, never a value.

    :param with_flush: name a flush, too; a request that fails carries it out all the same.
    """
    keys = sorted(current.changes.changed_keys())
    names = [repr(key) for key in keys[:_MOST_NAMED]]
    if len(keys) > _MOST_NAMED:
        names.append(f"{len(keys) - _MOST_NAMED} keys more")
    if current.ending is CLEARED:
        names.append("session.clear()")
    elif current.ending is FLUSHED and with_flush:
        names.append("session.flush()")
    if current.new_owner is not None:
        names.append("session.login()")
    elif current.changes_id:
        names.append("session.cycle_id()")
    if current.state is STORED and current.new_expiry is not None:
        names.append("session.expiry")
    return ", ".join(names)


def _tell_unsaved(current: RequestSession) -> None:
    names = name_unsaved(current, with_flush=True)
    if names:
        # Not here: the garbage collector may have interrupted this thread within a handler that is not reentrant, such
        # as QueueHandler.
        try:
            threading.Thread(target=_warn_unsaved, args=[names], name="wsgisessions log", daemon=True).start()
        except RuntimeError:  # the interpreter exits
            _warn_unsaved(names)


def _warn_unsaved(names: str) -> None:
    _logger.warning(
        "changes to a session were never saved: %s. They were made after its request was over, by a job without a"
        " save(), or for a response whose body the server neither read to its end nor closed (PEP 3333). To keep"
        f" changes, {_REMEDY}",
        names,
    )
