"""Sessions in this process's memory: for one process, development and tests."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import datetime, timedelta

from ..errors import ConfigurationError
from ..forking import call_after_fork
from ..record import RESERVED_PREFIX, Clock, Outcome, Patch, Record, utc_now
from .base import Store

_logger = logging.getLogger("wsgisessions")


class MemoryStore(Store):
    """A dict of sessions, lost when the process ends and not shared with other processes.

    :param max_sessions: how many sessions it holds at most. When it is full, the soonest to expire
        makes room for a new one; the first time a live one must go is logged.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: `max_sessions` is not a positive number.
    """

    is_shared: bool = False

    def __init__(self, *, max_sessions: int = 100_000, clock: Clock = utc_now) -> None:
        if not isinstance(max_sessions, int) or max_sessions <= 0:
            raise ConfigurationError(f"max_sessions is a number above 0; got {max_sessions!r}")
        self._max_sessions = max_sessions
        self._clock = clock
        self._renew_lock()
        call_after_fork(self._renew_lock)
        self._records: dict[str, Record] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._owners: dict[str, set[str]] = {}
        # Sorted by deadline. A session that is created or touched goes near the end, so an insertion
        # moves few items, and finding one to evict or purge looks at the first only.
        self._deadlines: list[tuple[datetime, str]] = []
        self._has_evicted = False

    def create(self, key: str, record: Record) -> bool:
        """Store a new session, after evicting the soonest to expire if the store is full."""
        with self._lock:
            if key in self._records:
                if self._live(key) is not None:
                    return False
                self._drop(key)
            if len(self._records) >= self._max_sessions:
                self._evict()
            self._put(key, record)
            return True

    def load(self, key: str) -> Record | None:
        """Return a session, or None; needs no lock, for a record is replaced and never changed."""
        record = self._records.get(key)
        return None if record is None or record.expires_at <= self._clock() else record

    def update(self, key: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all."""
        with self._lock:
            outcome, record = self._patched(key, patch)
            if record is not None:
                self._replace(key, record)
            return outcome

    def rename(self, key: str, new_key: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new key."""
        with self._lock:
            outcome, record = self._patched(key, patch)
            if record is None:
                return outcome
            if new_key in self._records:
                return Outcome.CONFLICT
            lease = self._leases.get(key)
            self._drop(key)
            self._put(new_key, record)
            if lease is not None:
                self._leases[new_key] = lease
            return outcome

    def delete(self, key: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        with self._lock:
            record = self._live(key)
            if record is None or (if_empty and not _is_empty(record)):
                return False
            self._drop(key)
            return True

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many."""
        with self._lock:
            now = self._clock()
            expired = [key for deadline, key in self._deadlines[:limit] if deadline <= now]
            for key in expired:
                self._drop(key)
            return len(expired)

    def acquire(self, key: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        with self._lock:
            if self._live(key) is None or self._lease_holder(key) not in (None, token):
                return False
            self._leases[key] = (token, self._clock() + lease)
            return True

    def release(self, key: str, token: str) -> bool:
        """Let go of a lease."""
        with self._lock:
            if self._lease_holder(key) != token:
                return False
            del self._leases[key]
            return True

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their keys."""
        with self._lock:
            found = [(key, self._live(key)) for key in self._owners.get(owner, ())]
        yield from ((key, record) for key, record in found if record is not None)

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's sessions, all but one, and return how many live ones went."""
        with self._lock:
            keys = self._owners.get(owner, set()) - {keep}
            live = sum(self._live(key) is not None for key in keys)
            for key in keys:
                self._drop(key)
            return live

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    # Every method below is called with the lock held.

    def _live(self, key: str) -> Record | None:
        return self.load(key)

    def _lease_holder(self, key: str) -> str | None:
        token, until = self._leases.get(key, (None, None))
        return token if until is not None and until > self._clock() else None

    def _patched(self, key: str, patch: Patch) -> tuple[Outcome, Record | None]:
        record = self._live(key)
        if record is None:
            return Outcome.GONE, None
        if patch.token is not None and self._lease_holder(key) != patch.token:
            return Outcome.CONFLICT, None
        values = record.values
        if any(values.get(name) != text for name, text in patch.expect.items()):
            return Outcome.CONFLICT, None
        if patch.clear or patch.remove:
            values = {} if patch.clear else {name: values[name] for name in values if name not in patch.remove}
        is_touched = patch.expires_at is not None
        return Outcome.DONE, Record(
            {**values, **patch.set},
            record.created_at,
            self._clock() if is_touched else record.touched_at,
            patch.expires_at or record.expires_at,
            patch.owner or record.owner,
        )

    def _replace(self, key: str, record: Record) -> None:
        old = self._records[key]
        # In one step: load() takes no lock, and must not find a touched session absent for a moment.
        self._records[key] = record
        if (old.expires_at, old.owner) != (record.expires_at, record.owner):
            self._leave_indexes(key, old)
            self._enter_indexes(key, record)

    def _put(self, key: str, record: Record) -> None:
        self._records[key] = record
        self._enter_indexes(key, record)

    def _drop(self, key: str) -> None:
        self._leave_indexes(key, self._records.pop(key))
        self._leases.pop(key, None)

    def _enter_indexes(self, key: str, record: Record) -> None:
        insort(self._deadlines, (record.expires_at, key))
        if record.owner is not None:
            self._owners.setdefault(record.owner, set()).add(key)

    def _leave_indexes(self, key: str, record: Record) -> None:
        del self._deadlines[bisect_left(self._deadlines, (record.expires_at, key))]
        if record.owner is not None:
            keys = self._owners[record.owner]
            keys.discard(key)
            if not keys:
                del self._owners[record.owner]

    def _evict(self) -> None:
        deadline, key = self._deadlines[0]
        if deadline > self._clock() and not self._has_evicted:
            self._has_evicted = True
            _logger.warning(
                "MemoryStore is full: from now on each new session logs out the one that is the soonest to"
                " expire; raise max_sessions (now %d) or choose another store",
                self._max_sessions,
            )
        self._drop(key)


def _is_empty(record: Record) -> bool:
    return record.owner is None and all(name.startswith(RESERVED_PREFIX) for name in record.values)
