"""Who may change a session now: one of this process's threads, then one of all processes, by a lease in the store."""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from .errors import ConfigurationError, LockTimeout, SessionInterrupted, StoreError
from .forking import call_after_fork
from .stores.base import Store

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
_DAY = 86_400

_logger = logging.getLogger("wsgisessions")


class ThreadLocks:
    """A lock for each ID hash that some thread of this process is waiting for or holding.

    Threads that queue here do not poll the store.
    """

    def __init__(self) -> None:
        self._start_afresh()
        # A fork copies locks that threads of the parent held, and nobody there would release them.
        call_after_fork(self, type(self)._start_afresh)

    @contextmanager
    def hold(self, id_hash: str, timeout: float) -> Iterator[None]:
        """Hold the lock of an ID hash.

        :raises LockTimeout: another thread had it for `timeout` seconds.
        """
        lock = self._enter(id_hash)
        try:
            if not lock.acquire(timeout=timeout):
                raise _lock_timeout(timeout)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._leave(id_hash)

    def _enter(self, id_hash: str) -> threading.Lock:
        with self._guard:
            lock, users = self._locks.get(id_hash) or (threading.Lock(), 0)
            self._locks[id_hash] = (lock, users + 1)
        return lock

    def _start_afresh(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    def _leave(self, id_hash: str) -> None:
        with self._guard:
            lock, users = self._locks[id_hash]
            if users == 1:
                del self._locks[id_hash]
            else:
                self._locks[id_hash] = (lock, users - 1)


@contextmanager
def leased(store: Store, id_hash: Callable[[], str], timeout: float, lease: float) -> Iterator[str]:
    """Hold the store's lease on a session, and yield its token.

    :param id_hash: returns the session's ID hash; a rename inside changes it.
    :raises LockTimeout: it could not be had within `timeout` seconds.
    :raises SessionInterrupted: there is no such session any more.
    """
    token = secrets.token_urlsafe(16)
    _acquire(store, id_hash(), token, timeout, lease)
    try:
        yield token
    finally:
        try:
            store.release(id_hash(), token)
        except StoreError:
            _logger.warning(
                "a session's lock could not be released; its lease runs out by itself",
                exc_info=True,
            )


def _acquire(store: Store, id_hash: str, token: str, timeout: float, lease: float) -> None:
    give_up_at = time.monotonic() + timeout
    pause = _FIRST_PAUSE
    while not store.acquire(id_hash, token, timedelta(seconds=lease)):
        if store.load(id_hash) is None:
            raise SessionInterrupted("the session was deleted or ran out before its lock could be had")
        left = give_up_at - time.monotonic()
        if left <= 0:
            raise _lock_timeout(timeout)
        time.sleep(min(left, pause * random.uniform(0.5, 1.5)))  # noqa: S311 -- jitter guards no secret
        pause = min(pause * 2, _LONGEST_PAUSE)


def check_times(timeout: float, lease: float) -> None:
    """Refuse times that make no sense.

    :raises ConfigurationError: a negative time-out, a lease that is over at once, or more than a day.
    """
    for name, seconds in (("timeout", timeout), ("lease", lease)):
        if not isinstance(seconds, (int, float)):
            raise ConfigurationError(f"session.lock({name}=...) is in seconds; got {type(seconds).__name__}")
    if not 0 <= timeout <= _DAY:
        raise ConfigurationError(f"session.lock(timeout=...) is in seconds, 0 to a day; got {timeout!r}")
    if not 0 < lease <= _DAY:
        raise ConfigurationError(f"session.lock(lease=...) is in seconds, more than 0, a day at most; got {lease!r}")


def _lock_timeout(timeout: float) -> LockTimeout:
    return LockTimeout(f"another request held the session's lock for {timeout:g} s; try again later")
