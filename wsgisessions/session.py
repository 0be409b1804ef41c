"""The session as the app sees it: a lazy, thread-safe mapping that knows what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, overload

from .commit import commit, would_write
from .decision import SUCCEEDED, Result
from .elsewhere import ELSEWHERE
from .errors import ConfigurationError, SessionError
from .expiry import Expiry, dump_expiry
from .loading import load
from .locking import hold_lock
from .owner_sessions import end_all, end_others
from .owners import app_owner, check_owner, stored_owner
from .request_state import Exchange, RequestSession
from .states import CLEARED, ENDED, FLUSHED, REPLACED, UNLOADED, WAITING
from .unsaved import watch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ENVIRON_KEY = "wsgisessions.session"
"""Where a request's environ has its session, unless the middleware's `environ_key` says otherwise."""

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S", bound="Session")

_ABSENT = object()


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

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    # --- the mapping

    def __getitem__(self, key: str) -> Any:
        current = self._looked_at()
        with current.lock:
            return current.changes.read(key)

    def __setitem__(self, key: str, value: Any) -> None:
        current = self._exchange.current or self._exchange.use()
        with current.lock:
            if self._exchange.phase is not WAITING:
                self._change_late()
            current.changes.assign(key, value)

    def __delitem__(self, key: str) -> None:
        current = self._looked_at()
        with current.lock:
            if not current.changes.has(key):
                raise KeyError(key)
            current.changes.delete(key)

    def __reversed__(self) -> Iterator[str]:
        current = self._looked_at()
        with current.lock:
            return reversed(current.changes.keys())

    def __iter__(self) -> Iterator[str]:
        current = self._looked_at()
        with current.lock:
            return iter(current.changes.keys())

    def __len__(self) -> int:
        current = self._looked_at()
        with current.lock:
            return len(current.changes.keys())

    def __contains__(self, key: object) -> bool:
        current = self._looked_at()
        with current.lock:
            return current.changes.has(key)

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
        :raises TypeError: no value can be read as this type.
        """
        current = self._looked_at()
        with current.lock:
            try:
                return current.changes.read(key) if type is None else current.changes.read_as(key, type)
            except KeyError:
                return default

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, after setting it to the default if it is absent."""
        with self._exchange.use().lock:
            return super().setdefault(key, default)

    def pop(self, key: str, default: Any = _ABSENT) -> Any:
        """Remove a key, and return its value, or the default if it is absent.

        :raises KeyError: it is absent, and there is no default.
        """
        with self._exchange.use().lock:
            return super().pop(key) if default is _ABSENT else super().pop(key, default)

    def popitem(self) -> tuple[str, Any]:
        """Remove a key, and return it with its value.

        :raises KeyError: the session is empty.
        """
        with self._exchange.use().lock:
            return super().popitem()

    def clear(self) -> None:
        """End the session as `flush` does, owner and expiry included, except that a failed request undoes it.

        What is written afterwards is a new session under a new ID: one delete, or with the mark and the new
        session a create, a delete and a create. Needs no load.
        """
        current = self._exchange.use()
        with current.lock:
            self._note_late_use()
            current.end(CLEARED, self._exchange)

    def bucket(self, type: type[T], key: str | None = None, *, on_mismatch: Literal["raise", "reset"] = "raise") -> T:
        """Return a typed name-space: an instance of `type`, kept in the session under one key.

        Made with its defaults if absent, and stored once it differs from them. Change its
        attributes; the commit finds that by itself.

        :param type: a dataclass, attrs class, msgspec Struct or pydantic model whose fields all
            have defaults.
        :param key: the session key; the class's name unless given.
        :param on_mismatch: what happens when the stored value does not fit the type, as after a change of
            its fields: an error, or a new start with the defaults and a warning in the log. The stored value stays
            until the new one is changed.
        :raises DecodeError: what is stored does not fit the type.
        """
        if on_mismatch not in ("raise", "reset"):
            raise ConfigurationError(f'on_mismatch is "raise" or "reset"; got {on_mismatch!r}')
        current = self._looked_at()
        with current.lock:
            if self._exchange.phase is not WAITING:
                self._change_late()
            name = type.__qualname__ if key is None else key
            bucket: T = current.changes.bucket(name, type, resets=on_mismatch == "reset")
            return bucket

    def copy(self) -> dict[str, Any]:
        """Return the keys and values as a dict."""
        return dict(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session cannot be pickled, for it belongs to its request; pickle dict(session)")

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
        stored = self._looked_at().stored
        return None if stored is None else stored.session_id.text

    @property
    def is_new(self) -> bool:
        """Whether the store does not have this session (yet)."""
        return self._looked_at().stored is None

    @property
    def is_modified(self) -> bool:
        """Whether a commit now would write, which putting the session's end off does too.

        Where something was written without a look inside, this loads the session. One round trip then.
        """
        return would_write(self._exchange)

    @property
    def is_loaded(self) -> bool:
        """Whether the store has been asked for the session."""
        current = self._exchange.current
        return current is not None and current.state is not UNLOADED

    @property
    def is_empty(self) -> bool:
        """Whether there is no key in it."""
        return len(self) == 0

    @property
    def renews_on_read(self) -> bool:
        """Whether this request puts the session's end off if it only reads; settable."""
        current = self._exchange.current
        return current is None or current.renews_on_read

    @renews_on_read.setter
    def renews_on_read(self, renews: bool) -> None:
        self._exchange.use().renews_on_read = renews

    @property
    def created_at(self) -> datetime | None:
        """When the session was first stored, in UTC; None for a new one."""
        stored = self._looked_at().stored
        return None if stored is None else stored.record.created_at

    @property
    def expires_at(self) -> datetime | None:
        """When the session ends unless it is used again, in UTC; None for a new one."""
        current = self._looked_at()
        if current.stored is None:
            return None
        if current.new_expiry is not None:
            return current.new_expiry.deadline(current.stored.record.created_at, self._exchange.settings.clock())
        return current.stored.record.expires_at

    @property
    def expires_in(self) -> timedelta | None:
        """How long until the session ends unless it is used again; None for a new one."""
        expires_at = self.expires_at
        return None if expires_at is None else expires_at - self._exchange.settings.clock()

    @property
    def expiry(self) -> Expiry:
        """When this session ends; set it to give this one another limit than the rest, for good."""
        return self._loaded().expiry or self._exchange.settings.expiry

    @expiry.setter
    def expiry(self, expiry: Expiry) -> None:
        dump_expiry(expiry)
        current = self._exchange.use()
        with current.lock:
            self._exchange.require_delivery("setting session.expiry")
            current.ask_expiry(expiry, self._exchange.settings.expiry)

    @property
    def owner(self) -> str | None:
        """Whose session this is, as `login` was told; None for a visitor who is not logged in."""
        owner = self._looked_at().owner
        return None if owner is None else app_owner(owner, self._exchange.settings.namespace)

    # --- what it can do

    def login(self, owner: str) -> None:
        """Bind the session to an owner and change its ID, which defeats session fixation (OWASP).

        What the visitor collected before stays, but the data of another owner is flushed first. Of two logins at
        once, as by a double click, each has a session of its own with what was collected before.
        One load now; at the commit one create (the mark of the old ID) and one rename, or for a new session one
        create.
        """
        check_owner(owner)
        if not owner:
            raise SessionError("login() takes the owner's ID; got an empty str")
        current = self._loaded()
        with current.lock:
            self._exchange.require_delivery("session.login()")
            bound = stored_owner(owner, self._exchange.settings.namespace)
            if current.owner not in (None, bound):
                self.flush()
            current.new_owner = bound
            current.changes_id = current.stored is not None

    def logout(self) -> None:
        """Delete the session with all its data; the same as `flush`."""
        self.flush()

    def revoke_others(self) -> int:
        """End every other session of this one's owner, at once, and return how many there were.

        For "log out everywhere else" and for a changed password. One round trip after the load.

        :raises SessionError: nobody is logged in.
        """
        return end_others(self._exchange.settings, self._looked_at())

    def revoke_all(self) -> int:
        """End every session of this one's owner at once, and flush this one; return how many there were.

        For "log out everywhere". One round trip after the load.

        :raises SessionError: nobody is logged in.
        """
        ended = end_all(self._exchange.settings, self._looked_at())
        self.flush()
        return ended

    def flush(self) -> None:
        """Delete the session with all its data, whatever the outcome of the request.

        One delete at the commit. What is written afterwards starts a new session.
        """
        current = self._exchange.use()
        with current.lock:
            self._note_late_use()
            current.end(FLUSHED, self._exchange)

    def cycle_id(self) -> None:
        """Give the session a new ID and keep its data; the old ID is dead.

        One load, and at the commit one create (the mark of the old ID) and one rename.
        """
        current = self._exchange.use()
        with current.lock:
            self._exchange.require_delivery("session.cycle_id()")
            current.changes_id = True

    def save(self) -> None:
        """Commit now instead of when the headers are due.

        :raises SessionConflict: another request changed a guarded key (see `on_conflict`, `merges`).
        :raises SessionInterrupted: the session was deleted, ran out or got another ID meanwhile.
        :raises SessionTooLarge: it would exceed `max_bytes`.
        :raises StoreError: the store failed.
        """
        commit(self._exchange)

    def reload(self) -> None:
        """Undo what is not committed, and load the session anew. One round trip."""
        current = self._exchange.use()
        with current.lock:
            current.undo()
            current.become_unloaded()
            load(self._exchange, current)

    def lock(self, timeout: float = 10, lease: float = 30) -> AbstractContextManager[None]:
        """Take turns: `with session.lock(): session["n"] += 1`.

        Commits what was written before, waits for the lock, reloads; commits at the end and lets
        go. An exception inside undoes what was written inside. After the load, four round trips.

        :param timeout: how many seconds to wait for the lock.
        :param lease: after how many seconds others may take it, should this process die.
        :raises LockTimeout: another request held it all the time.
        :raises LockLost: the lease ran out before the commit; nothing was written.
        """
        return hold_lock(self._exchange, self._loaded(), timeout, lease)

    def __repr__(self) -> str:
        """Show the state and the keys that are known without asking the store; never a value or the ID."""
        current = self._exchange.current
        if current is None:
            return f"<{type(self).__name__} (untouched)>"
        with current.lock:
            keys = sorted(current.changes.texts())
        return f"<{type(self).__name__} ({current.state.name.lower()}) with keys {keys}>"

    def __getattr__(self, name: str) -> Any:
        hint = f"; write {ELSEWHERE[name]}" if name in ELSEWHERE else ""
        raise AttributeError(f"a session has no attribute {name!r}{hint}", name=name, obj=self)

    modified = _say_what_to_write("modified")
    permanent = _say_what_to_write("permanent")

    # --- laziness

    def _loaded(self) -> RequestSession:
        """Return the request's session, after asking the store for it."""
        current = self._exchange.use()
        if current.state is UNLOADED:
            with current.lock:
                if current.state is UNLOADED:
                    load(self._exchange, current)
        return current

    def _looked_at(self) -> RequestSession:
        """Return the request's session for a look inside."""
        current = self._exchange.current
        if current is None or current.state is UNLOADED:
            current = self._loaded()
        current.was_read = True
        if self._exchange.phase is not WAITING:
            self._note_late_use()
        return current

    def _change_late(self) -> None:
        """Refuse a change that would start a session of which no header can tell the client any more."""
        if self._loaded().stored is None:
            self._exchange.require_delivery("starting a new session")
        self._note_late_use()

    def _note_late_use(self) -> None:
        """See to it that what is changed after the end of the request, and never saved, is told."""
        if self._exchange.phase in (ENDED, REPLACED):
            watch(self._exchange)


def get_session(environ: WSGIEnvironment, environ_key: str = ENVIRON_KEY) -> Session:
    """Return the request's session.

    :raises ConfigurationError: the app is not wrapped in a `SessionMiddleware` of this key.
    """
    session = environ.get(environ_key)
    if not isinstance(session, Session):
        raise ConfigurationError(
            f"there is no session at environ[{environ_key!r}]; wrap the app: SessionMiddleware(app, store)"
        )
    return session


def exchange_of(session: Session) -> Exchange:
    """Return the request and response that a session belongs to."""
    return session._exchange


def same_session(session: Session, session_class: type[S]) -> S:
    """Return the session as an object of another class, for another framework's attributes."""
    return session_class(session._exchange)


def default_expiry(session: Session) -> Expiry:
    """Return when the sessions end that have no expiry of their own."""
    return session._exchange.settings.expiry


def commit_session(session: Session, result: Result = SUCCEEDED) -> None:
    """Commit what a request whose app ended so did to its session."""
    commit(session._exchange, result)
