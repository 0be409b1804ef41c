"""The WSGI middleware: a session for each request, committed before the headers leave.

    from wsgisessions import MemoryStore, SessionMiddleware, get_session

    def app(environ, start_response):
        session = get_session(environ)
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"Visit {session['visits']}".encode()]

    app = SessionMiddleware(app, MemoryStore())

What becomes of the request and its response in between is in exchange.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from .codec import Codec
from .devices import KeepClient
from .errors import ConfigurationError
from .exchange import Body, Exchange, Headers, Site, is_ready
from .expiry import Expiry, OnSessionEnd
from .manager import OnConflict, SessionManager
from .merge import Rule
from .session import Session
from .state import Notice, State
from .stores.base import Store
from .transports import Cookie, Transport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRON_KEY = "wsgisessions.session"

# Servers that send the headers which are there when the app returns, although PEP 3333 lets them come with the first
# chunk (emmett-framework/granian#845).
_TAKE_HEADERS_AT_ONCE = ("Granian",)

_logger = logging.getLogger("wsgisessions")


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


def shared_session(middleware: SessionMiddleware, environ: WSGIEnvironment) -> Session | None:
    """Return the session that another middleware, further out, has opened in the same place and will commit."""
    session = environ.get(middleware.environ_key)
    if not isinstance(session, Session):
        return None
    exchange = session._carrier
    # An environ that is used again, as by what retries a request, still has the session of the first time.
    if not isinstance(exchange, Exchange) or exchange.is_over or not exchange.can_deliver:
        return None
    middleware.warn_of_another(exchange.middleware)
    return session


class SessionMiddleware:
    """Wrap a WSGI app, and give each of its requests a session at `environ["wsgisessions.session"]`.

    :param app: the app.
    :param store: where the sessions are kept: a store, such as `open_store(url)` makes.
    :param expiry: when sessions end: `OnSessionEnd()`, `OnInactivity(...)` or `AtDateTime(...)`.
    :param transport: how the session ID travels; `Cookie()` unless given. Of several, such as `[Header(), Cookie()]`,
        each client is answered by the first that it uses, or by the last.
    :param codec: how values become text; `JSONCodec()` unless given.
    :param environ_key: the session's place in the environ; two middlewares with two keys and two
        cookie names give a request two sessions. Of two with one key, the outer one's is the session of both.
    :param max_bytes: the most that one session may take.
    :param on_conflict: "last-wins", or "refuse" (409) when two requests change one key.
    :param merges: rules that merge two changes of one key, such as `{"cart": merge.extend}`.
    :param max_per_owner: how many sessions an owner has at most; a login beyond that ends the oldest.
    :param keep_client: "plain" or "hashed": a login keeps the user agent and the address for
        `manager.sessions(owner)`. Behind a proxy, the address needs werkzeug's ProxyFix.
    :raises ConfigurationError: an option makes no sense.
    """

    session_class: type[Session] = Session

    def __init__(
        self,
        app: WSGIApplication,
        store: Store,
        *,
        expiry: Expiry = OnSessionEnd(),  # noqa: B008 -- frozen
        transport: Transport | Sequence[Transport] | None = None,
        codec: Codec | None = None,
        environ_key: str = ENVIRON_KEY,
        max_bytes: int | None = None,
        on_conflict: OnConflict = "last-wins",
        merges: Mapping[str, Rule] | None = None,
        max_per_owner: int | None = None,
        keep_client: KeepClient | None = None,
    ) -> None:
        if not callable(app):
            raise ConfigurationError(
                f"SessionMiddleware takes the app, then the store; got {type(app).__name__} as the app"
            )
        self.app = app
        self.manager = SessionManager(
            store,
            expiry=expiry,
            codec=codec,
            max_bytes=max_bytes,
            on_conflict=on_conflict,
            merges=merges,
            max_per_owner=max_per_owner,
            keep_client=keep_client,
        )
        self.transports = _listed(transport)
        *self._first_choices, self._last_choice = self.transports
        self.vary = [each.vary for each in self.transports]
        self.environ_key = environ_key
        self._has_warned: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request (PEP 3333)."""
        if self.environ_key in environ and shared_session(self, environ) is not None:
            return self.app(environ, start_response)
        exchange = Exchange(self, environ, start_response)
        environ[self.environ_key] = exchange.session
        try:
            body = self.app(environ, exchange.start_response)
        except BaseException as error:
            replacement = exchange.fail(error)
            if replacement is None:
                raise
            return replacement
        if is_ready(body, environ):
            return exchange.answer(body)
        chunks = Body(body, exchange)
        if environ.get("SERVER_SOFTWARE") in _TAKE_HEADERS_AT_ONCE:
            chunks.begin()
        return chunks

    def transport_for(self, environ: WSGIEnvironment) -> Transport:
        """Return the transport that answers the client of this request."""
        if not self._first_choices:
            return self._last_choice
        return next((each for each in self._first_choices if each.read(environ)), self._last_choice)

    def session_headers(self, state: State, environ: WSGIEnvironment) -> Headers:
        """Return the headers that a committed session adds to its response."""
        transport = self.transport_for(environ)
        if state.notice is Notice.WITHDRAW:
            return list(transport.withdraw())
        if state.stored is None:
            return []
        session_id = state.stored.session_id
        if state.notice is Notice.NOTHING and not transport.is_outdated(environ, session_id):
            return []
        self._warn(transport, environ)
        return list(transport.issue(session_id, self.manager.max_age(state)))

    def _warn(self, transport: Transport, environ: WSGIEnvironment) -> None:
        self._warn_once("transport", transport.warning(environ))
        store = self.manager.store
        if not store.is_shared and environ.get("wsgi.multiprocess"):
            self._warn_once(
                "store",
                f"{type(store).__name__} is not shared between the processes of this server, so a visitor's"
                " session is found by one of them only; use SQLiteStore or another shared store",
            )

    def warn_of_another(self, outer: Site) -> None:
        """Tell that the store of this middleware is not used, where the one further out has another."""
        if outer.manager.store is not self.manager.store:
            self._warn_once(
                "outer",
                f"another SessionMiddleware further out has a session at environ[{self.environ_key!r}], and another"
                " store; its session is used. For a session beside it, use another environ_key and cookie name",
            )

    def _warn_once(self, about: str, warning: str | None) -> None:
        if warning is not None and about not in self._has_warned:
            self._has_warned.add(about)
            _logger.warning("%s", warning)


def _listed(transport: Transport | Sequence[Transport] | None) -> list[Transport]:
    if transport is None:
        return [Cookie()]
    transports = list(transport) if isinstance(transport, Sequence) else [transport]
    if not transports or any(isinstance(each, type) or not hasattr(each, "issue") for each in transports):
        raise ConfigurationError("transport is Cookie(...), Header(...) or a list of them")
    return transports
