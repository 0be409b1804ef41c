"""The WSGI middleware: a session for each request, committed before the headers leave.

    from wsgisessions import MemoryStore, SessionMiddleware, get_session

    def app(environ, start_response):
        session = get_session(environ)
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"Visit {session['visits']}".encode()]

    app = SessionMiddleware(app, MemoryStore())

The app's `start_response` is kept back and the session is committed as late as PEP 3333 allows: when
the app has returned a list, a tuple or a `wsgi.file_wrapper`, which is handed on as it is; else just
before the first chunk of the body, at the first `write()`, or at the end of an empty body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from .answers import ERROR_STATUSES, error_answer, log_replacement
from .codec import Codec
from .devices import Client, KeepClient
from .errors import ConfigurationError
from .expiry import Expiry, OnSessionEnd
from .manager import OnConflict, SessionManager
from .merge import Rule
from .session import Session
from .state import Notice, State
from .stores.base import Store
from .transports import Cookie, Transport

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

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

    def warn_of_another(self, outer: SessionMiddleware) -> None:
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


class Exchange:
    """One request and its response: what the app told `start_response`, kept back until the commit.

    Is the session's carrier: reads the ID that the client presents, and knows whether the headers
    have left.
    """

    __slots__ = (
        "_environ",
        "_headers",
        "_server_start_response",
        "_server_write",
        "_status",
        "can_deliver",
        "is_over",
        "middleware",
        "session",
        "state",
    )

    def __init__(
        self,
        middleware: SessionMiddleware,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        self.middleware = middleware
        self._environ = environ
        self._server_start_response = start_response
        self._status = ""
        self.can_deliver = True
        self.is_over = False
        self.state: State | None = None
        self.session = middleware.session_class(middleware.manager, self)

    def session_ids(self) -> Sequence[str]:
        """Return what the client presents as session IDs."""
        return self.middleware.transport_for(self._environ).read(self._environ)

    def client(self) -> Client:
        """Return who sent the request."""
        return client_of(self._environ)

    def start_response(
        self, status: str, headers: Headers, exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Keep the status and headers back; what the app calls instead of the server's."""
        if self._status and exc_info is None:
            raise AssertionError("start_response() was called a second time without exc_info (PEP 3333)")
        if not self.can_deliver:
            # With exc_info after the headers have left, the server raises it; after an empty chunk they may not have
            # (PEP 3333, "Error Handling").
            write = self._server_start_response(status, self._with_ours(headers), exc_info)
            self._status = status
            return write
        self._status = status
        self._headers = headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a chunk by the imperative way of PEP 3333, the headers before the first one."""
        if self.can_deliver:
            for chunk in self.send_headers() or ():
                self._server_write(chunk)
        if not self.is_over:
            self._server_write(data)

    def send_headers(self) -> list[bytes] | None:
        """Commit, and give the server the headers. Return the body instead of the app's, if that failed."""
        if not self._status:
            raise AssertionError("the app returned a body before it called start_response() (PEP 3333)")
        headers = self._headers
        state = self.state
        if state is not None:
            try:
                headers = self._commit(state)
            except Exception as error:
                return self._replace(error)
        self.can_deliver = False
        self._server_write = self._server_start_response(self._status, headers)
        return None

    def answer(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body of an app that has done its work, or what replaces it."""
        if self.state is None and self.can_deliver and self._status:
            # Nothing to commit, and nobody left who could touch the session: a twentieth faster than below.
            self.can_deliver = False
            self._server_start_response(self._status, self._headers)
            return body
        replacement = None
        if self.can_deliver:
            replacement = self.send_headers()
        else:
            self.finish()
        if not self.is_over:
            return body
        _close(body)
        return replacement or []

    def fail(self, error: BaseException) -> list[bytes] | None:
        """Save nothing of an app that raised; return what the visitor is told, or None to raise on."""
        self._abandon()
        is_ours = isinstance(error, tuple(ERROR_STATUSES))
        return self._replace(error) if is_ours and self.can_deliver else None

    def finish(self) -> None:
        """Commit what was changed after the headers had left; a body that never began saves nothing."""
        if self.is_over:
            return
        if self.can_deliver or self._status.startswith("5"):
            self._abandon()
            return
        try:
            self.middleware.manager.commit(self.session)
        except Exception:
            _logger.exception("changes made while the response was being sent could not be saved")

    def _commit(self, state: State) -> Headers:
        middleware = self.middleware
        if self._status.startswith("5"):
            middleware.manager.abandon(self.session, can_deliver=True)
        else:
            middleware.manager.commit(self.session)
        return self._with_ours(self._headers)

    def _with_ours(self, headers: Headers) -> Headers:
        state, middleware = self.state, self.middleware
        if state is None:
            return headers
        ours = middleware.session_headers(state, self._environ)
        if ours and not _has(headers, "cache-control"):
            ours.append(("Cache-Control", f'no-cache="{ours[0][0]}"'))
        return [*_varying(headers, middleware.vary), *ours]

    def _abandon(self) -> None:
        self.is_over = True
        try:
            self.middleware.manager.abandon(self.session, can_deliver=False)
        except Exception:
            _logger.exception("a session could not be deleted after its request had failed")

    def _replace(self, error: BaseException) -> list[bytes]:
        self.is_over = True
        self.can_deliver = False
        log_replacement(error)
        status, headers, body = error_answer(error)
        # An ID that an earlier commit of this request has changed must reach the client all the same.
        self._server_write = self._server_start_response(status, self._with_ours(headers))
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [body]


class Presented:
    """What a request presents, for a session that no `Exchange` commits."""

    can_deliver = True
    state: State | None = None

    def __init__(self, middleware: SessionMiddleware, environ: WSGIEnvironment) -> None:
        self._middleware = middleware
        self._environ = environ

    def session_ids(self) -> Sequence[str]:
        """Return what the client presents as session IDs."""
        return self._middleware.transport_for(self._environ).read(self._environ)

    def client(self) -> Client:
        """Return who sent the request."""
        return client_of(self._environ)


class Body:
    """A body whose chunks the app makes while they are sent: a generator, a stream, Flask's response."""

    __slots__ = ("_begun", "_body", "_exchange")

    def __init__(self, body: Iterable[bytes], exchange: Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._begun: Iterator[bytes] | None = None

    def begin(self) -> None:
        """Make the first chunk now, and with it the headers."""
        chunks = self._chunks()
        try:
            first = next(chunks, None)
        except BaseException:
            self.close()  # the server will not: it gets no body
            raise
        self._begun = chunks if first is None else chain([first], chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks() if self._begun is None else self._begun

    def _chunks(self) -> Iterator[bytes]:
        exchange = self._exchange
        chunks: Iterator[bytes] | None = None
        while not exchange.is_over:
            try:
                chunks = iter(self._body) if chunks is None else chunks
                chunk = next(chunks, None)
            except BaseException as error:
                replacement = exchange.fail(error)
                if replacement is None:
                    raise
                yield from replacement
                return
            # An empty chunk too must find the headers given to the server.
            if exchange.can_deliver:
                yield from exchange.send_headers() or ()
            if chunk is None:
                return
            if not exchange.is_over:
                yield chunk

    def close(self) -> None:
        """Close the app's body, then commit what it changed since the headers left (PEP 3333)."""
        try:
            _close(self._body)
        finally:
            self._exchange.finish()


def _listed(transport: Transport | Sequence[Transport] | None) -> list[Transport]:
    if transport is None:
        return [Cookie()]
    transports = list(transport) if isinstance(transport, Sequence) else [transport]
    if not transports or any(isinstance(each, type) or not hasattr(each, "issue") for each in transports):
        raise ConfigurationError("transport is Cookie(...), Header(...) or a list of them")
    return transports


def client_of(environ: WSGIEnvironment) -> Client:
    """Return who sent a request."""
    return Client(environ.get("HTTP_USER_AGENT"), environ.get("REMOTE_ADDR"))


def is_ready(body: object, environ: WSGIEnvironment) -> bool:
    """Tell whether a body is made already: a list, a tuple, or a file for the server's `wsgi.file_wrapper`."""
    if isinstance(body, (list, tuple)):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _has(headers: Headers, name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)


def _varying(headers: Headers, names: Sequence[str]) -> Headers:
    """Return the headers with `names` in their Vary: in one field, since some caches read only the first."""
    fields = ",".join(value for key, value in headers if key.lower() == "vary")
    if not fields:
        return [*headers, ("Vary", ", ".join(names))]
    present = [each.strip() for each in fields.split(",") if each.strip()]
    lowered = {each.lower() for each in present}
    missing = [] if "*" in lowered else [name for name in names if name.lower() not in lowered]
    if not missing:
        return headers
    others = (header for header in headers if header[0].lower() != "vary")
    return [*others, ("Vary", ", ".join(present + missing))]
