"""Deleting expired sessions: once, or from time to time by one process of many."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from datetime import timedelta

from .errors import ConfigurationError
from .forking import call_after_fork
from .record import Clock, Record
from .stores.base import Store

# Whoever creates the session of this ID hash has the turn, until it expires. No client can name it, for what is
# hashed does not have the form of a session ID.
_TURN = hashlib.sha256(b"wsgisessions.purge").hexdigest()

_LONGEST_PERIOD = timedelta(days=365)

_logger = logging.getLogger("wsgisessions")


def purge(store: Store) -> int:
    """Delete a store's expired sessions, batch by batch, and return how many."""
    deleted = 0
    while batch := store.delete_expired():
        deleted += batch
    return deleted


class PeriodicPurge:
    """Purges a store from time to time, in a daemon thread of each process that has it.

    One of the processes on the store purges in each period. The thread survives errors, which it logs, and
    goes on in the children after a fork.

    :param every: the period; the first purge comes within it, at a random moment.
    :raises ConfigurationError: `every` is not a timedelta above zero, or more than a year.
    """

    def __init__(self, store: Store, every: timedelta, clock: Clock) -> None:
        if not isinstance(every, timedelta) or not timedelta(0) < every <= _LONGEST_PERIOD:
            raise ConfigurationError(
                f"purge(every=...) is a timedelta such as timedelta(minutes=10), a year at most; got {every!r}"
            )
        self._store = store
        self._every = every
        self._clock = clock
        self._is_over = False
        self._start()
        call_after_fork(self, type(self)._start)

    def stop(self) -> None:
        """Stop the thread of this process, for its later children too, and wait for a purge that is under way."""
        self._is_over = True
        self._stopped.set()
        self._thread.join()

    def _start(self) -> None:
        if self._is_over:
            return
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wsgisessions purge", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        seconds = self._every.total_seconds()
        pause = random.uniform(0, seconds)  # noqa: S311 -- jitter guards no secret
        while not self._stopped.wait(pause):
            pause = seconds * random.uniform(0.9, 1.1)  # noqa: S311
            try:
                if self._takes_turn():
                    purge(self._store)
            except Exception:
                _logger.warning("purging expired sessions failed; trying again in %.0f s", pause, exc_info=True)

    def _takes_turn(self) -> bool:
        now = self._clock()
        return self._store.create(_TURN, Record({}, now, now, now + self._every * 0.8))
