"""`session.lock()`: requests of one session take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .commit import commit
from .errors import SessionInterrupted
from .leases import check_times, leased
from .loading import load
from .request_state import Exchange, HeldLock, RequestSession


@contextmanager
def hold_lock(exchange: Exchange, current: RequestSession, timeout: float, lease: float) -> Iterator[None]:
    """Take turns with other requests of a loaded session; see `Session.lock`."""
    check_times(timeout, lease)
    settings = exchange.settings
    if current.held_lock is not None and current.held_lock.thread == threading.get_ident():
        yield
        return
    commit(exchange)
    stored = current.stored
    if stored is None:
        # Nobody else can know a session that the store has not got.
        with current.lock, _committed(exchange, current):
            yield
        return
    id_hash = stored.session_id.id_hash

    def current_id_hash() -> str:
        return id_hash if current.stored is None else current.stored.session_id.id_hash

    with (
        settings.thread_locks.hold(id_hash, timeout),
        leased(settings.store, current_id_hash, timeout, lease) as token,
    ):
        with current.lock:
            current.become_unloaded()
            load(exchange, current)
        if current.stored is None:
            raise SessionInterrupted("the session was deleted or ran out before its lock could be had")
        current.was_read = True
        current.held_lock = HeldLock(token, threading.get_ident())
        try:
            with _committed(exchange, current):
                yield
        finally:
            current.held_lock = None


@contextmanager
def _committed(exchange: Exchange, current: RequestSession) -> Iterator[None]:
    """Commit at the end; undo what is not committed if the block or the commit fails."""
    try:
        yield
        commit(exchange)
    except BaseException:
        current.undo()
        raise
