"""Sessions in this process's memory: for one process, development and tests."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from datetime import datetime, timedelta

from ..errors import ConfigurationError
from ..forking import call_after_fork
from ..record import CONFLICT, DONE, GONE, RESERVED_PREFIX, Clock, Outcome, Patch, Record, utc_now
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
        call_after_fork(self, type(self)._renew_lock)
        self._records: dict[str, Record] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}
        self._owners: dict[str, set[str]] = {}
        # Sorted by deadline. A session that is created or touched goes near the end, so an insertion
        # moves few items, and finding one to evict or purge looks at the first only.
        self._deadlines: list[tuple[datetime, str]] = []
        self._has_evicted = False

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session, after evicting the soonest to expire if the store is full."""
        with self._lock:
            if id_hash in self._records:
                if self._live(id_hash) is not None:
                    return False
                self._drop(id_hash)
            if len(self._records) >= self._max_sessions:
                self._evict()
            self._put(id_hash, record)
            return True

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None; needs no lock, for a record is replaced and never changed."""
        record = self._records.get(id_hash)
        return None if record is None or record.expires_at <= self._clock() else record

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all."""
        with self._lock:
            outcome, record = self._patched(id_hash, patch)
            if record is None:
                return outcome
            old = self._records[id_hash]
            # In one step: load() takes no lock, and must not find a touched session absent for a moment.
            self._records[id_hash] = record
            if record.expires_at != old.expires_at or record.owner != old.owner:
                self._leave_indexes(id_hash, old)
                self._enter_indexes(id_hash, record)
            return outcome

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash."""
        with self._lock:
            outcome, record = self._patched(id_hash, patch)
            if record is None:
                return outcome
            if new_id_hash in self._records:
                return CONFLICT
            lease = self._leases.get(id_hash)
            self._drop(id_hash)
            self._put(new_id_hash, record)
            if lease is not None:
                self._leases[new_id_hash] = lease
            return outcome

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        with self._lock:
            record = self._live(id_hash)
            if record is None or (if_empty and not _is_empty(record)):
                return False
            self._drop(id_hash)
            return True

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many."""
        with self._lock:
            now = self._clock()
            expired = [id_hash for deadline, id_hash in self._deadlines[:limit] if deadline <= now]
            for id_hash in expired:
                self._drop(id_hash)
            return len(expired)

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        with self._lock:
            if self._live(id_hash) is None or self._lease_holder(id_hash) not in (None, token):
                return False
            self._leases[id_hash] = (token, self._clock() + lease)
            return True

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        with self._lock:
            if self._lease_holder(id_hash) != token:
                return False
            del self._leases[id_hash]
            return True

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes."""
        with self._lock:
            found = [(id_hash, self._live(id_hash)) for id_hash in self._owners.get(owner, ())]
        yield from ((id_hash, record) for id_hash, record in found if record is not None)

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's sessions, all but one, and return how many live ones went."""
        with self._lock:
            id_hashes = self._owners.get(owner, set()) - {keep}
            live = sum(self._live(id_hash) is not None for id_hash in id_hashes)
            for id_hash in id_hashes:
                self._drop(id_hash)
            return live

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    # Every method below is called with the lock held.

    # The store's own look at a session, even if a subclass has a load() of its own.
    _live = load

    def _lease_holder(self, id_hash: str) -> str | None:
        token, until = self._leases.get(id_hash, (None, None))
        return token if until is not None and until > self._clock() else None

    def _patched(self, id_hash: str, patch: Patch) -> tuple[Outcome, Record | None]:
        record, now = self._records.get(id_hash), self._clock()
        if record is None or record.expires_at <= now:
            return GONE, None
        if patch.token is not None and self._lease_holder(id_hash) != patch.token:
            return CONFLICT, None
        # A loop, and not any() of a generator, which Python would enter and leave once for each expectation.
        for name, text in patch.expect.items():
            if record.fields.get(name) != text:
                return CONFLICT, None
        return DONE, Record(
            patch.applied_to(record.fields),
            record.created_at,
            record.touched_at if patch.expires_at is None else now,
            patch.expires_at or record.expires_at,
            patch.owner or record.owner,
        )

    def _put(self, id_hash: str, record: Record) -> None:
        self._records[id_hash] = record
        self._enter_indexes(id_hash, record)

    def _drop(self, id_hash: str) -> None:
        self._leave_indexes(id_hash, self._records.pop(id_hash))
        self._leases.pop(id_hash, None)

    def _enter_indexes(self, id_hash: str, record: Record) -> None:
        insort(self._deadlines, (record.expires_at, id_hash))
        if record.owner is not None:
            self._owners.setdefault(record.owner, set()).add(id_hash)

    def _leave_indexes(self, id_hash: str, record: Record) -> None:
        del self._deadlines[bisect_left(self._deadlines, (record.expires_at, id_hash))]
        if record.owner is not None:
            id_hashes = self._owners[record.owner]
            id_hashes.discard(id_hash)
            if not id_hashes:
                del self._owners[record.owner]

    def _evict(self) -> None:
        deadline, id_hash = self._deadlines[0]
        if deadline > self._clock() and not self._has_evicted:
            self._has_evicted = True
            _logger.warning(
                "MemoryStore is full: from now on each new session logs out the one that is the soonest to"
                " expire; raise max_sessions (now %d) or choose another store",
                self._max_sessions,
            )
        self._drop(id_hash)


def _is_empty(record: Record) -> bool:
    return record.owner is None and all(name.startswith(RESERVED_PREFIX) for name in record.fields)
