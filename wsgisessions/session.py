"""The session as the app sees it: a lazy, thread-safe mapping that knows what changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, overload

from .codec import Codec
from .errors import SessionError
from .expiry import Expiry, dump_expiry
from .record import Clock
from .state import Carrier, State, check_owner

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound="Session")

_ABSENT = object()

_first_use = threading.Lock()

# What peers call things, and what to write here.
_ELSEWHERE = {
    "session_key": "session.id",
    "session_id": "session.id",
    "sid": "session.id",
    "cycle_key": "session.cycle_id()",
    "regenerate": "session.cycle_id()",
    "regenerate_id": "session.cycle_id()",
    "invalidate": "session.flush()",
    "destroy": "session.flush()",
    "delete": "session.flush()",
    "set_expiry": "session.expiry = OnInactivity(...), OnSessionEnd(...) or AtDateTime(...)",
    "get_expiry_age": "session.expires_in",
    "get_expiry_date": "session.expires_at",
    "created": "session.created_at",
    "last_accessed": "manager.sessions(owner), whose items have last_seen",
    "get_by_id": "SessionManager.open(session_id)",
    "touch": "nothing: using a session puts its end off",
    "timeout": "session.expiry = OnInactivity(...)",
    "cookie": "session.expiry = OnInactivity(...); attributes are the middleware's, transport=Cookie(...)",
    "revert": "session.reload()",
    "user": "session.owner",
    "user_id": "session.owner",
    "modified": "nothing: changes are found by themselves, in nested values too (see session.is_modified)",
    "accessed": "session.is_loaded",
    "new": "session.is_new",
    "permanent": "session.expiry = OnInactivity(...) (session.permanent is there in wsgisessions.flask)",
    "has_key": "key in session",
}


class Backend(Protocol):
    """What a session needs of its manager."""

    clock: Clock
    codec: Codec
    expiry: Expiry

    def load(self, state: State) -> None:
        """Ask the store for the session that the state stands for."""
        ...

    def commit(self, session: Session) -> None:
        """Write what changed."""
        ...

    def lock(self, session: Session, timeout: float, lease: float) -> AbstractContextManager[None]:
        """Take turns with other requests of the session."""
        ...

    def revoke_others(self, session: Session) -> int:
        """End the owner's other sessions."""
        ...


def _say_what_to_write(name: str) -> property:
    """Return an attribute that is not there, and that cannot be set without being told so."""

    def refuse(session: Session, value: object) -> None:
        session.__getattr__(name)

    return property(None, refuse)


class Session(MutableMapping[str, Any]):
    """A visitor's data, kept on the server, as a mapping from str to anything the codec keeps.

    Costs nothing until it is used. The first look inside (`in`, `len`, `bool` and iteration too)
    loads it, one store round trip; what was changed, also inside nested values, is written when the
    response's headers are due, one more. Safe to use from several threads of one request.
    """

    __slots__ = ("_backend", "_carrier")

    def __init__(self, backend: Backend, carrier: Carrier) -> None:
        self._backend = backend
        self._carrier = carrier

    # --- the mapping

    def __getitem__(self, key: str) -> Any:
        state = self._read()
        with state.lock:
            return state.contents.read(key)

    def __setitem__(self, key: str, value: Any) -> None:
        state = self._use()
        with state.lock:
            self._require_a_way_back(state)
            state.contents.assign(key, value)

    def __delitem__(self, key: str) -> None:
        state = self._read()
        with state.lock:
            if not state.contents.has(key):
                raise KeyError(key)
            state.contents.delete(key)

    def __iter__(self) -> Iterator[str]:
        state = self._read()
        with state.lock:
            return iter(state.contents.keys())

    def __len__(self) -> int:
        state = self._read()
        with state.lock:
            return len(state.contents.keys())

    def __contains__(self, key: object) -> bool:
        state = self._read()
        with state.lock:
            return state.contents.has(key)

    @overload
    def get(self, key: str, default: Any = None, *, type: None = None) -> Any: ...
    @overload
    def get(self, key: str, default: None = None, *, type: type[T]) -> T | None: ...
    @overload
    def get(self, key: str, default: D, *, type: type[T]) -> T | D: ...
    # Mapping declares that get() may return None; here, as for a dict's own items, the caller knows better.
    def get(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, key: str, default: Any = None, *, type: Any = None
    ) -> Any:
        """Return the value of a key, or the default if it is absent.

        :param type: what the value must be, such as `int` or `list[Item]`; it is made so strictly,
            and a change inside it is found at the commit.
        :raises DecodeError: the stored value does not fit the type.
        """
        state = self._read()
        with state.lock:
            try:
                return state.contents.read(key) if type is None else state.contents.read_as(key, type)
            except KeyError:
                return default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, after setting it to the default if it is absent."""
        with self._use().lock:
            return super().setdefault(key, default)

    def pop(self, key: str, default: Any = _ABSENT) -> Any:
        """Remove a key, and return its value, or the default if it is absent.

        :raises KeyError: it is absent, and there is no default.
        """
        with self._use().lock:
            return super().pop(key) if default is _ABSENT else super().pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        """Remove a key, and return it with its value.

        :raises KeyError: the session is empty.
        """
        with self._use().lock:
            return super().popitem()

    def clear(self) -> None:
        """Remove every key, also those that another request is adding. Needs no load by itself."""
        state = self._use()
        with state.lock:
            state.contents.clear()

    def bucket(self, type: type[T], key: str | None = None) -> T:
        """Return a typed name-space: an instance of `type`, kept in the session under one key.

        Made with its defaults if absent, and stored once it differs from them. Change its
        attributes; the commit finds that by itself.

        :param type: a dataclass, attrs class, msgspec Struct or pydantic model whose fields all
            have defaults.
        :param key: the session key; the class's name unless given.
        :raises DecodeError: what is stored does not fit the type.
        """
        state = self._read()
        with state.lock:
            self._require_a_way_back(state)
            bucket: T = state.contents.bucket(type.__qualname__ if key is None else key, type)
            return bucket

    def copy(self) -> dict[str, Any]:
        """Return the keys and values as a dict."""
        return dict(self)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __ior__(self: S, other: Mapping[str, Any]) -> S:
        self.update(other)
        return self

    # --- what it is

    @property
    def id(self) -> str | None:
        """The session ID that the client holds; None until the store has the session. A secret."""
        stored = self._read().stored
        return None if stored is None else stored.session_id

    @property
    def is_new(self) -> bool:
        """Whether the store does not have this session (yet)."""
        return self._read().stored is None

    @property
    def is_modified(self) -> bool:
        """Whether a commit would write something."""
        state = self._state
        if state is None:
            return False
        with state.lock:
            return state.is_modified()

    @property
    def is_loaded(self) -> bool:
        """Whether the store has been asked for the session."""
        return self._state is not None and self._state.is_loaded

    @property
    def is_empty(self) -> bool:
        """Whether there is no key in it."""
        return len(self) == 0

    @property
    def renews_on_read(self) -> bool:
        """Whether a request that only reads may put the session's end off."""
        return True

    @property
    def created_at(self) -> datetime | None:
        """When the session was first stored, in UTC; None for a new one."""
        stored = self._read().stored
        return None if stored is None else stored.record.created_at

    @property
    def expires_at(self) -> datetime | None:
        """When the session ends unless it is used again, in UTC; None for a new one."""
        state = self._read()
        if state.stored is None:
            return None
        if state.expiry_changed:
            return self.expiry.deadline(state.stored.record.created_at, self._backend.clock())
        return state.stored.record.expires_at

    @property
    def expires_in(self) -> timedelta | None:
        """How long until the session ends unless it is used again; None for a new one."""
        expires_at = self.expires_at
        return None if expires_at is None else expires_at - self._backend.clock()

    @property
    def expiry(self) -> Expiry:
        """When this session ends; set it to give this one another limit than the rest, for good."""
        return self._look().expiry or self._backend.expiry

    @expiry.setter
    def expiry(self, expiry: Expiry) -> None:
        dump_expiry(expiry)
        state = self._use()
        with state.lock:
            state.require_delivery("setting session.expiry")
            state.expiry = expiry
            state.expiry_changed = True

    @property
    def owner(self) -> str | None:
        """Whose session this is, as `login` was told; None for a visitor who is not logged in."""
        return self._read().owner

    # --- what it can do

    def login(self, owner: str) -> None:
        """Bind the session to an owner and change its ID, which defeats session fixation (OWASP).

        What the visitor collected before stays, but the data of another owner is flushed first.
        One load now, one rename (or create) at the commit.
        """
        check_owner(owner)
        if not owner:
            raise SessionError("login() takes the owner's ID; got an empty str")
        state = self._look()
        with state.lock:
            state.require_delivery("session.login()")
            if state.owner not in (None, owner):
                self.flush()
            state.new_owner = owner
            state.cycles_id = state.stored is not None

    def logout(self) -> None:
        """Delete the session with all its data; the same as `flush`."""
        self.flush()

    def revoke_others(self) -> int:
        """End every other session of this one's owner, at once, and return how many there were.

        For "log out everywhere else" and for a changed password. One round trip after the load.

        :raises SessionError: nobody is logged in.
        """
        return self._backend.revoke_others(self)

    def flush(self) -> None:
        """Delete the session with all its data, whatever the outcome of the request.

        One delete at the commit. What is written afterwards starts a new session.
        """
        state = self._use()
        with state.lock:
            state.flush(self._backend.codec)

    def cycle_id(self) -> None:
        """Give the session a new ID and keep its data; the old ID is dead. One rename at the commit."""
        state = self._use()
        with state.lock:
            state.require_delivery("session.cycle_id()")
            state.cycles_id = True

    def save(self) -> None:
        """Commit now instead of when the headers are due.

        :raises SessionConflict: another request changed a guarded key (see `on_conflict`, `merges`).
        :raises SessionInterrupted: the session was deleted or ran out meanwhile.
        :raises SessionTooLarge: it would exceed `max_bytes`.
        :raises StoreError: the store failed.
        """
        self._backend.commit(self)

    def reload(self) -> None:
        """Undo what is not committed, and load the session anew. One round trip."""
        state = self._use()
        with state.lock:
            was_read = state.was_read
            state.become_unloaded(self._backend.codec)
            state.was_read = was_read
            self._backend.load(state)

    def lock(self, timeout: float = 10, lease: float = 30) -> AbstractContextManager[None]:
        """Take turns: `with session.lock(): session["n"] += 1`.

        Commits what was written before, waits for the lock, reloads; commits at the end and lets
        go. An exception inside undoes what was written inside. After the load, four round trips.

        :param timeout: how many seconds to wait for the lock.
        :param lease: after how many seconds others may take it, should this process die.
        :raises LockTimeout: another request held it all the time.
        :raises LockLost: the lease ran out before the commit; nothing was written.
        """
        return self._backend.lock(self, timeout, lease)

    def __repr__(self) -> str:
        state = self._state
        if state is None:
            return f"<{type(self).__name__} (untouched)>"
        if not state.is_loaded:
            return f"<{type(self).__name__} (not loaded)>"
        return f"<{type(self).__name__} ({'new' if state.stored is None else 'stored'})>"

    def __getattr__(self, name: str) -> Any:
        hint = f"; write {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
        raise AttributeError(f"a session has no attribute {name!r}{hint}", name=name, obj=self)

    modified = _say_what_to_write("modified")
    permanent = _say_what_to_write("permanent")

    # --- laziness

    @property
    def _state(self) -> State | None:
        return self._carrier.state

    def _use(self) -> State:
        carrier = self._carrier
        if carrier.state is None:
            with _first_use:
                if carrier.state is None:
                    carrier.state = State(carrier, self._backend.codec)
        return carrier.state

    def _look(self) -> State:
        state = self._use()
        if not state.is_loaded:
            with state.lock:
                if not state.is_loaded:
                    self._backend.load(state)
        return state

    def _read(self) -> State:
        state = self._carrier.state
        if state is None or not state.is_loaded:
            state = self._look()
        state.was_read = True
        return state

    def _require_a_way_back(self, state: State) -> None:
        if not state.carrier.can_deliver and self._look().stored is None:
            state.require_delivery("starting a new session")
