"""Any store in front of any other: reads that the fast one can answer do not ask the slow one."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ..errors import ConfigurationError, StoreError
from ..record import Clock, Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged

# What the cache holds for a session is either a ticket, the promise of a load that is under way, or a copy
# of its record. A copy takes the place of its own load's ticket only, and a write leaves neither behind: so
# a slow load cannot bring back what was written meanwhile, in whichever process.
_TICKET = "ticket"
_TIMES = "times"
_FIELD = "="

# For so long a cache that has failed is not even told to forget; one that hangs would hold up every request.
_RETRY_SECONDS = 1.0
_LONGEST_AGE = timedelta(days=365)

_logger = logging.getLogger("wsgisessions")


class CachingStore(Store):
    """A cache in front of a store.

    A session is read from the cache, or else from the store and then copied. A write goes to the store and
    takes the copy away. After a write of any kind has returned, no load through the same CachingStore
    returns what it replaced; other processes' caches follow within `max_age`. `session.lock()` and merge
    rules read afresh. A cache that fails costs speed, not sessions.

    A load costs one command of the cache; or four of the cache and one of the store.

    :param cache: where the copies are; a `MemoryStore()` for each process, or a `RedisStore` for all.
    :param store: where the sessions are.
    :param max_age: how long a copy may be used.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: `max_age` is not above zero, or more than a year.
    """

    def __init__(self, cache: Store, store: Store, *, max_age: timedelta, clock: Clock = utc_now) -> None:
        if not isinstance(max_age, timedelta) or not timedelta(0) < max_age <= _LONGEST_AGE:
            raise ConfigurationError(
                f"CachingStore(max_age=...) is a timedelta above zero, a year at most; got {max_age!r}"
            )
        for each in (cache, store):
            if not isinstance(each, Store):
                raise ConfigurationError(f"CachingStore takes two stores, cache and store; got {type(each).__name__}")
        if cache is store:
            raise ConfigurationError("CachingStore takes two different stores, cache and store")
        self.is_shared = store.is_shared
        self._cache = cache
        self._store = store
        self._max_age = max_age
        self._clock = clock
        self._distrusted_until = 0.0
        self._failed_at = float("-inf")
        self._owners_deleted = 0

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session; its first load makes the copy."""
        return self._store.create(id_hash, record)

    def load(self, id_hash: str) -> Record | None:
        """Return a session's copy, or the session."""
        if time.monotonic() < self._distrusted_until:
            return self._store.load(id_hash)
        ticket, until, promised = secrets.token_urlsafe(16), self._clock() + self._max_age, False
        with self._sparing():
            held = self._cache.load(id_hash)
            if held is not None and _TIMES in held.fields and (original := _original(held)) is not None:
                return original
            promised = held is None and self._cache.create(id_hash, _promise(ticket, self._clock(), until))
        # Without a promise the cache has failed, or another load is under way and will leave its copy.
        return self._load_and_copy(id_hash, ticket, until) if promised else self._store.load(id_hash)

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch in the store, and forget the copy."""
        with self._forgetting(id_hash):
            return self._store.update(id_hash, patch)

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch in the store, move the session to a new ID hash, and forget the copy."""
        with self._forgetting(id_hash, new_id_hash):
            return self._store.rename(id_hash, new_id_hash, patch)

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session and its copy."""
        with self._forgetting(id_hash):
            return self._store.delete(id_hash, if_empty=if_empty)

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions of the store, and as many copies."""
        with self._sparing():
            self._cache.delete_expired(limit)
        return self._store.delete_expired(limit)

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease in the store; the holder's next load asks the store."""
        with self._forgetting(id_hash):
            return self._store.acquire(id_hash, token, lease)

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        return self._store.release(id_hash, token)

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes, from the store."""
        return self._store.find(owner)

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's sessions and their copies; one more command of the store, to know them."""
        id_hashes = [id_hash for id_hash, _ in self._store.find(owner) if id_hash != keep]
        with self._forgetting(*id_hashes):
            deleted = self._store.delete_owner(owner, keep=keep)
            # A load that began before this and knows the session as the owner's must leave no copy.
            self._owners_deleted += 1
            if time.monotonic() >= self._distrusted_until:
                with self._sparing():
                    self._cache.delete_owner(owner, keep=keep)
            return deleted

    def setup(self) -> None:
        """Set up both stores."""
        self._store.setup()
        self._cache.setup()

    def close(self) -> None:
        """Let go of both stores' connections."""
        self._store.close()
        self._cache.close()

    def _load_and_copy(self, id_hash: str, ticket: str, until: datetime) -> Record | None:
        owners_deleted = self._owners_deleted
        try:
            record = self._store.load(id_hash)
        except BaseException:
            self._forget(id_hash)
            raise
        with self._sparing():
            if record is not None and self._owners_deleted == owners_deleted:
                self._cache.update(id_hash, _copy(record, ticket, until))
            if record is None or self._owners_deleted != owners_deleted:
                self._cache.delete(id_hash)
        return record

    @contextmanager
    def _forgetting(self, *id_hashes: str) -> Iterator[None]:
        # Also when the write fails: it may have been applied, or the copy is why it conflicts.
        try:
            yield
        finally:
            self._forget(*id_hashes)

    def _forget(self, *id_hashes: str) -> None:
        if time.monotonic() < self._failed_at + _RETRY_SECONDS:
            self._distrust()
            return
        with self._sparing():
            for id_hash in id_hashes:
                self._cache.delete(id_hash)

    @contextmanager
    def _sparing(self) -> Iterator[None]:
        """Do without the cache when it fails, until every copy that it may still hold is too old."""
        try:
            yield
        except StoreError:
            self._failed_at = time.monotonic()
            self._distrust()
            _logger.warning(
                "the cache of sessions failed and is not used for %g s", self._max_age.total_seconds(), exc_info=True
            )
        except BaseException:
            # Interrupted: what was to be forgotten may be there still.
            self._failed_at = time.monotonic()
            self._distrust()
            raise

    def _distrust(self) -> None:
        self._distrusted_until = time.monotonic() + self._max_age.total_seconds()


def _promise(ticket: str, now: datetime, until: datetime) -> Record:
    return Record({_TICKET: ticket}, now, now, until)


def _copy(record: Record, ticket: str, until: datetime) -> Patch:
    times = (record.created_at, record.touched_at, record.expires_at)
    return Patch(
        set={_FIELD + name: text for name, text in record.fields.items()}
        | {_TIMES: " ".join(each.isoformat() for each in times)},
        remove={_TICKET},
        expect={_TICKET: ticket},
        expires_at=min(until, record.expires_at),
        owner=record.owner,
    )


@absent_if_damaged
def _original(copy: Record) -> Record:
    created_at, touched_at, expires_at = map(datetime.fromisoformat, copy.fields[_TIMES].split(" "))
    if None in (created_at.tzinfo, touched_at.tzinfo, expires_at.tzinfo):
        raise ValueError
    fields = {name[1:]: text for name, text in copy.fields.items() if name.startswith(_FIELD)}
    return Record(fields, created_at, touched_at, expires_at, copy.owner)
