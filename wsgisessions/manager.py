"""Opening, committing and revoking sessions. Knows no WSGI; nothing else talks to a store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Literal, get_args, overload

from .codec import Codec, JSONCodec
from .contents import OWN_CLIENT, OWN_EXPIRY, Changes, check_key
from .devices import Client, KeepClient, SessionInfo, dump_client, load_client
from .errors import ConfigurationError, SessionError, SessionInterrupted, SessionTooLarge
from .expiry import Expiry, OnSessionEnd, dump_expiry
from .identifiers import hash_session_id, is_session_id, new_session_id
from .locking import ThreadLocks, check_times, leased
from .merge import Rule
from .patching import Applied, Patching
from .purging import PeriodicPurge, purge
from .record import Clock, Outcome, Patch, Record, utc_now
from .sealing import EncryptedCodec, Seal
from .session import Session
from .state import Notice, State, Stored, check_owner, split_texts
from .stores.base import Store

OnConflict = Literal["last-wins", "refuse"]

_logger = logging.getLogger("wsgisessions")


class SessionManager:
    """Sessions on one store, for whoever has a session ID: a middleware, a job, a test.

    :param store: where the sessions are kept.
    :param expiry: when they end.
    :param codec: how their values become text.
    :param max_bytes: the most that one session's keys and texts may take, in bytes of UTF-8.
    :param on_conflict: when two requests change one key that both had read: "last-wins", or
        "refuse" the later one with `SessionConflict`.
    :param merges: rules that merge two such changes, by session key (see `wsgisessions.merge`).
    :param max_per_owner: how many sessions an owner has at most; a login beyond that ends the oldest.
    :param keep_client: whether a login keeps the user agent and the address for `sessions(owner)`: "plain",
        or "hashed", which tells that two are the same and is no secret against guessing.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: an option makes no sense.
    """

    def __init__(
        self,
        store: Store,
        *,
        expiry: Expiry = OnSessionEnd(),  # noqa: B008 -- frozen
        codec: Codec | None = None,
        max_bytes: int | None = None,
        on_conflict: OnConflict = "last-wins",
        merges: Mapping[str, Rule] | None = None,
        max_per_owner: int | None = None,
        keep_client: KeepClient | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self.store = store
        self.expiry = expiry
        self.codec: Codec = JSONCodec() if codec is None else codec
        self.clock = clock
        self._max_bytes = max_bytes
        self._max_per_owner = max_per_owner
        self._keep_client: KeepClient | None = keep_client
        self._encryption = self.codec if isinstance(self.codec, EncryptedCodec) else None
        self._thread_locks = ThreadLocks()
        self._purges: list[PeriodicPurge] = []
        self._check(on_conflict, merges or {})
        self._patching = Patching(
            store, self.codec, refuses=on_conflict == "refuse", merges=merges or {}, check_size=self._check_size
        )

    def open(self, session_id: str | None = None) -> Session:
        """Return the session of an ID, or a new one; the store is asked at the first look inside."""
        return Session(self, _Given(() if session_id is None else (session_id,)))

    def commit(self, session: Session) -> None:
        """Write what changed in a session, as the table in docs/commit.md says.

        :raises SessionConflict: another request changed a guarded key meanwhile.
        :raises SessionInterrupted: the session that was read is gone.
        :raises SessionTooLarge: it would exceed `max_bytes`.
        :raises EncodeError: a nested value can no longer be encoded.
        :raises LockLost: the lease of `session.lock()` ran out.
        :raises StoreError: the store failed.
        """
        state = session._state
        if state is None:
            return
        with state.lock:
            self._delete_flushed(state)
            if not state.is_loaded:
                if not state.is_modified():
                    return
                self.load(state)
            changes = state.contents.changes()
            if state.stored is None:
                self._create(state)
            elif changes or state.has_intentions():
                self._write(state, state.stored, changes)
            elif session.renews_on_read:
                self._touch_if_due(state, state.stored)

    def abandon(self, session: Session, *, can_deliver: bool) -> None:
        """Save no data of a failed request, but do what protects the visitor.

        A flush happens whatever the outcome. A new ID needs its cookie: without one the old ID stays.
        """
        state = session._state
        if state is None:
            return
        with state.lock:
            self._delete_flushed(state)
            cycles_id = state.cycles_id and can_deliver
            state.undo()
            if not cycles_id:
                return
            if not state.is_loaded:
                self.load(state)
            if state.stored is not None:
                state.cycles_id = True
                self._apply(state, state.stored, Patch())

    def load(self, state: State) -> None:
        """Find the session that the client presents, one round trip for each candidate."""
        for session_id in state.candidates:
            key = hash_session_id(session_id)
            record = self.store.load(key)
            if record is None:
                continue
            if self._encryption is None:
                state.attach(session_id, key, record)
                return
            seal = self._encryption.find_seal(key, record)
            if seal is not None:
                state.attach(session_id, key, seal.open(record), seal)
                return
            _logger.warning("a stored session is not encrypted by one of the codec's keys; the visitor gets a new one")
        state.attach_nothing()

    def max_age(self, state: State) -> int | None:
        """Return for how many seconds a cookie must last, or None if it ends with the browser."""
        if state.stored is None or not self._expiry_of(state).outlives_browser:
            return None
        return max(0, ceil((state.stored.record.expires_at - self.clock()).total_seconds()))

    def sessions(self, owner: str, *, current: Session | None = None) -> list[SessionInfo]:
        """Return an owner's sessions, the last seen first. One round trip.

        :param current: the session of the request, to be marked.
        :raises SessionError: the owner is no str.
        """
        check_owner(owner)
        state = None if current is None else current._look()
        own_key = None if state is None or state.stored is None else state.stored.key
        found = [self._describe(key, record, own_key) for key, record in self.store.find(owner)]
        return sorted(found, key=lambda each: each.last_seen, reverse=True)

    def revoke(self, handle: str) -> bool:
        """End the session of a handle, and tell whether there was one. One round trip.

        A request of it that is running already may finish; its next one has no session.

        :raises SessionError: a session ID is not a handle.
        """
        if is_session_id(handle):
            raise SessionError("revoke() takes a handle of manager.sessions(owner); got what may be a session ID")
        return self.store.delete(handle)

    def revoke_all(self, owner: str) -> int:
        """End every session of an owner, and return how many there were. One round trip.

        :raises SessionError: the owner is no str.
        """
        check_owner(owner)
        return self.store.delete_owner(owner)

    def revoke_others(self, session: Session) -> int:
        """End every session of a session's owner but this one; see `Session.revoke_others`."""
        state = session._look()
        owner = session.owner
        if owner is None:
            raise SessionError("session.revoke_others() needs an owner; call session.login(owner) first")
        return self.store.delete_owner(owner, keep=None if state.stored is None else state.stored.key)

    @overload
    def purge(self) -> int: ...

    @overload
    def purge(self, *, every: timedelta) -> PeriodicPurge: ...

    def purge(self, *, every: timedelta | None = None) -> int | PeriodicPurge:
        """Delete expired sessions, batch by batch, and return how many; for cron and the like.

        With `every`, do so from time to time in a daemon thread instead, and return what can `stop()` it. In
        each period one process of all that were told so does it, whichever is first.

        :raises ConfigurationError: `every` is not a timedelta above zero.
        """
        if every is None:
            return purge(self.store)
        periodic = PeriodicPurge(self.store, every, self.clock)
        self._purges.append(periodic)
        return periodic

    @contextmanager
    def lock(self, session: Session, timeout: float, lease: float) -> Iterator[None]:
        """Take turns with other requests of a session; see `Session.lock`."""
        check_times(timeout, lease)
        state = session._look()
        if state.lock_holder == threading.get_ident():
            yield
            return
        self.commit(session)
        if state.stored is None:
            # Nobody else can know a session that the store has not got.
            with state.lock, self._undoing(state):
                yield
                self.commit(session)
            return
        key = state.stored.key

        def current_key() -> str:
            return key if state.stored is None else state.stored.key

        with self._thread_locks.hold(key, timeout), leased(self.store, current_key, timeout, lease) as token:
            session.reload()
            if state.stored is None:
                raise SessionInterrupted("the session was deleted or ran out before its lock could be had")
            state.was_read = True
            state.token, state.lock_holder = token, threading.get_ident()
            try:
                with self._undoing(state):
                    yield
                    self.commit(session)
            finally:
                state.token = state.lock_holder = None

    @staticmethod
    @contextmanager
    def _undoing(state: State) -> Iterator[None]:
        try:
            yield
        except BaseException:
            state.undo()
            raise

    # --- the ways of a commit

    def _delete_flushed(self, state: State) -> None:
        while state.flushed:
            self.store.delete(state.flushed[-1])
            state.flushed.pop()
            state.was_modified = True
            state.notice = Notice.WITHDRAW

    def _create(self, state: State) -> None:
        texts = state.contents.texts()
        if not texts and state.new_owner is None:
            return
        state.require_delivery("starting a new session")
        self._check_size(texts)
        state.own_texts = self._own_texts(state)
        now = self.clock()
        expires_at = self._expiry_of(state).deadline(now, now)
        record = Record(texts | state.own_texts, now, now, expires_at, state.new_owner)
        seal = None if self._encryption is None else self._encryption.new_seal()
        session_id = new_session_id()
        while not self._store_new(hash_session_id(session_id), record, seal):
            session_id = new_session_id()
        state.settle(Stored(session_id, hash_session_id(session_id), record, seal), texts)
        state.was_modified = True
        state.notice = Notice.ISSUE
        self._end_oldest(record.owner, state.stored)

    def _store_new(self, key: str, record: Record, seal: Seal | None) -> bool:
        return self.store.create(key, record if seal is None else seal.close(key, record))

    def _write(self, state: State, stored: Stored, changes: Changes) -> None:
        if changes and self._max_bytes is not None:
            self._check_size(state.contents.texts())
        # Clearing a session takes away this package's own texts too.
        own_texts = self._own_texts(state) if state.has_intentions() or changes.clear else {}
        guards = self._patching.guards
        patch = Patch(
            set=changes.set | own_texts,
            remove=changes.remove,
            clear=changes.clear,
            expect=state.contents.expectations(changes, guards) if guards else {},
            expires_at=self._new_deadline(state, stored.record),
            owner=state.new_owner,
            token=state.token,
        )
        if self._apply(state, stored, patch) is Outcome.GONE:
            self._start_anew(state)
            return
        state.was_modified = True
        self._end_oldest(patch.owner, state.stored)
        self._delete_if_empty(state)

    def _end_oldest(self, new_owner: str | None, stored: Stored | None) -> None:
        if new_owner is None or self._max_per_owner is None or stored is None:
            return
        others = [(record.created_at, key) for key, record in self.store.find(new_owner) if key != stored.key]
        for _, key in sorted(others)[: max(0, len(others) + 1 - self._max_per_owner)]:
            self.store.delete(key)

    def _start_anew(self, state: State) -> None:
        if state.was_read:
            raise SessionInterrupted(
                "the session was deleted or ran out while this request was changing it; nothing was saved"
            )
        state.detach()
        self._create(state)

    def _delete_if_empty(self, state: State) -> None:
        stored = state.stored
        if stored is None or stored.record.owner is not None or not state.contents.is_empty():
            return
        # Another request may be filling it: the store looks once more, in the statement that deletes.
        if self.store.delete(stored.key, if_empty=True):
            state.become_new(self.codec)
            state.notice = Notice.WITHDRAW

    def _touch_if_due(self, state: State, stored: Stored) -> None:
        expires_at = self._new_deadline(state, stored.record)
        if expires_at is not None:
            self._apply(state, stored, Patch(expires_at=expires_at))

    def _apply(self, state: State, stored: Stored, patch: Patch) -> Outcome:
        new_id = new_session_id() if state.cycles_id else None
        applied = self._patching.apply(stored.key, patch, new_id and hash_session_id(new_id), stored.seal)
        if applied.outcome is Outcome.DONE:
            self._note_applied(state, stored, applied, new_id)
        return applied.outcome

    def _note_applied(self, state: State, stored: Stored, applied: Applied, new_id: str | None) -> None:
        patch, record = applied.patch, stored.record
        tells_client = new_id is not None or state.expiry_changed
        if patch.expires_at is not None:
            record = replace(record, expires_at=patch.expires_at, touched_at=self.clock())
            tells_client = tells_client or self._expiry_of(state).outlives_browser
        if patch.owner is not None:
            record = replace(record, owner=patch.owner)
        texts = {} if patch.clear else dict(state.contents.base)
        for key in patch.remove:
            texts.pop(key, None)
        texts.update(patch.set)
        if state.own_texts or patch.owner is not None or state.expiry_changed:
            texts, own_texts = split_texts(texts)
            state.own_texts |= own_texts
        session_id = new_id or stored.session_id
        key = hash_session_id(new_id) if new_id else stored.key
        state.settle(Stored(session_id, key, record, stored.seal), texts, applied.merged)
        if tells_client:
            state.notice = Notice.ISSUE

    def _describe(self, key: str, record: Record, own_key: str | None) -> SessionInfo:
        if self._encryption is not None:
            seal = self._encryption.find_seal(key, record)
            record = replace(record, values={}) if seal is None else seal.open(record)
        client = load_client(record.values.get(OWN_CLIENT))
        return SessionInfo(
            key,
            record.created_at,
            record.touched_at,
            record.expires_at,
            key == own_key,
            client.user_agent,
            client.address,
        )

    # --- deadlines

    def _expiry_of(self, state: State) -> Expiry:
        return state.expiry or self.expiry

    def _own_texts(self, state: State) -> dict[str, str]:
        texts = dict(state.own_texts)
        if state.expiry is not None:
            texts[OWN_EXPIRY] = dump_expiry(state.expiry)
        if state.new_owner is not None and self._keep_client is not None:
            texts[OWN_CLIENT] = dump_client(state.carrier.client(), self._keep_client, state.new_owner)
        return texts

    def _new_deadline(self, state: State, record: Record) -> datetime | None:
        """Return the deadline to set, or None while the record's is good enough."""
        expiry, now = self._expiry_of(state), self.clock()
        if state.expiry_changed:
            return expiry.deadline(record.created_at, now)
        if not expiry.is_touch_due(record.touched_at, now):
            return None
        if expiry.outlives_browser and not state.carrier.can_deliver:
            # The cookie would not last as long.
            return None
        deadline = expiry.deadline(record.created_at, now)
        return None if deadline == record.expires_at else deadline

    # --- checks

    def _check_size(self, texts: Mapping[str, str]) -> None:
        if self._max_bytes is None:
            return
        size = sum(len(key.encode()) + len(text.encode()) for key, text in texts.items())
        if size > self._max_bytes:
            raise SessionTooLarge(
                f"the session would take {size} bytes, and max_bytes is {self._max_bytes}; nothing was saved."
                " Keep large data elsewhere and its ID in the session"
            )

    def _check(self, on_conflict: str, merges: Mapping[str, Rule]) -> None:
        if not isinstance(self.store, Store):
            raise ConfigurationError(
                "the store is a wsgisessions Store, such as MemoryStore(), RedisStore(client) or open_store(url);"
                f" got {_kind_of(self.store)}"
            )
        if isinstance(self.codec, type) or not hasattr(self.codec, "is_immutable"):
            raise ConfigurationError(f"codec is a Codec, such as JSONCodec(); got {_kind_of(self.codec)}")
        if on_conflict not in get_args(OnConflict):
            raise ConfigurationError(f'on_conflict is "last-wins" or "refuse"; got {on_conflict!r}')
        if self._max_bytes is not None and (not isinstance(self._max_bytes, int) or self._max_bytes <= 0):
            raise ConfigurationError(f"max_bytes is a number of bytes above 0, or None; got {self._max_bytes!r}")
        if self._max_per_owner is not None and (not isinstance(self._max_per_owner, int) or self._max_per_owner < 1):
            raise ConfigurationError(
                f"max_per_owner is a number of sessions, 1 or more, or None; got {self._max_per_owner!r}"
            )
        if self._keep_client not in (*get_args(KeepClient), None):
            raise ConfigurationError(f'keep_client is "plain", "hashed" or None; got {self._keep_client!r}')
        dump_expiry(self.expiry)
        for key, rule in merges.items():
            check_key(key)
            if not callable(rule):
                raise ConfigurationError(
                    f"merges[{key!r}] is a function of (base, mine, theirs), such as merge.add; got {rule!r}"
                )


def _kind_of(option: object) -> str:
    return f"the class {option.__name__} itself" if isinstance(option, type) else type(option).__name__


class _Given:
    """An ID that came by other ways than a request."""

    can_deliver = True
    state: State | None = None

    def __init__(self, session_ids: Sequence[str]) -> None:
        self._session_ids = session_ids

    def session_ids(self) -> Sequence[str]:
        return self._session_ids

    def client(self) -> Client:
        return Client()
