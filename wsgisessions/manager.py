"""Opening, committing and revoking sessions. Knows no WSGI; nothing else talks to a store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, overload

from .decision import FAILED, RAISED
from .errors import SessionError
from .options import settings_of
from .owner_sessions import list_sessions
from .owners import check_owner, stored_owner
from .purging import PeriodicPurge, purge
from .request_state import Exchange
from .session import Session, commit_session, exchange_of
from .session_ids import is_handle, is_well_formed
from .session_info import SessionInfo
from .stores.base import Store
from .transports import Given
from .unsaved import watch

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .options import Options


class SessionManager:
    """Sessions on one store, for whoever has a session ID: a middleware, a job, a test.

    :param store: where the sessions are kept.
    :param options: `wsgisessions.options.Options` describes each.
    :raises ConfigurationError: an option makes no sense.
    :raises TypeError: there is no such option.
    """

    def __init__(self, store: Store, **options: Unpack[Options]) -> None:
        self.settings = settings_of(store, options)
        self.store = store
        self._purges: list[PeriodicPurge] = []

    def open(self, session_id: str | None = None) -> Session:
        """Return the session of an ID, or without one a new session; the store is asked at the first look inside.

        If the store has no session of this ID, it reads as empty, and a commit of changes is `SessionInterrupted`:
        nobody would learn the ID of another one.

        :raises SessionError: a handle is not a session ID.
        """
        if session_id is not None and is_handle(session_id):
            raise SessionError("open() takes a session ID, the client's secret; got a handle, which tells no ID")
        exchange = Exchange(self.settings, Given(session_id), {}, must_exist=session_id is not None)
        watch(exchange)
        return Session(exchange)

    def commit(self, session: Session) -> None:
        """Write what changed in a session, as the table in docs/commit.md says; raises as `Session.save` does."""
        commit_session(session)

    def abandon(self, session: Session, *, can_deliver: bool) -> None:
        """Save no data of a failed request, but do what protects the visitor.

        A flush happens whatever the outcome. A new ID needs its cookie: without one the old ID stays.

        :param can_deliver: whether the client can still be told of a new ID.
        """
        commit_session(session, FAILED if can_deliver else RAISED)

    def sessions(self, owner: str, *, current: Session | None = None) -> list[SessionInfo]:
        """Return an owner's sessions, the last seen first. One round trip.

        :param current: the session of the request, to be marked.
        :raises SessionError: the owner is no str.
        """
        check_owner(owner)
        if current is not None:
            len(current)  # the answer depends on it, and so does the response's Vary
        return list_sessions(self.settings, owner, None if current is None else exchange_of(current).current)

    def revoke(self, handle: str, *, owner: str | None = None) -> bool:
        """End the session of a handle, and tell whether there was one. One round trip, with `owner` two.

        A request of it that is running already may finish; its next one has no session.

        :param owner: end it only if it is this owner's: for a handle that comes from a form.
        :raises SessionError: a session ID is not a handle, or the owner is no str.
        """
        if is_well_formed(handle):
            raise SessionError("revoke() takes a handle of manager.sessions(owner); got what may be a session ID")
        if owner is not None:
            check_owner(owner)
            record = self.store.load(handle)
            if record is None or record.owner != stored_owner(owner, self.settings.namespace):
                return False
        return self.store.delete(handle)

    def revoke_all(self, owner: str) -> int:
        """End every session of an owner, and return how many there were. One round trip.

        :raises SessionError: the owner is no str.
        """
        check_owner(owner)
        return self.store.delete_owner(stored_owner(owner, self.settings.namespace))

    @overload
    def purge(self) -> int: ...

    @overload
    def purge(self, *, every: timedelta) -> PeriodicPurge: ...

    def purge(self, *, every: timedelta | None = None) -> int | PeriodicPurge:
        """Delete expired sessions, batch by batch, and return how many; for cron and the like.

        With `every`, do so from time to time in a daemon thread instead, and return what can `stop()` it. One
        of all the processes that do so purges in each period.

        :raises ConfigurationError: `every` is not a timedelta above zero.
        """
        if every is None:
            return purge(self.store)
        periodic = PeriodicPurge(self.store, every, self.settings.clock)
        self._purges.append(periodic)
        return periodic
