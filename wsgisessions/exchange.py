"""One request and its response (PEP 3333): kept back until the session is committed, and then sent.

The app's `start_response` is kept back and the session is committed as late as PEP 3333 allows: when
the app has returned a list, a tuple or a `wsgi.file_wrapper`, which is handed on as it is; else just
before the first chunk of the body, at the first `write()`, or at the end of an empty body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from .answers import ERROR_STATUSES, error_answer, log_replacement
from .devices import Client
from .manager import SessionManager
from .session import Session
from .state import State
from .transports import Transport

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]

_logger = logging.getLogger("wsgisessions")


class Site(Protocol):
    """What an exchange needs of its middleware."""

    @property
    def manager(self) -> SessionManager:
        """Who opens and commits sessions."""
        ...

    @property
    def session_class(self) -> type[Session]:
        """The class of the sessions."""
        ...

    @property
    def vary(self) -> Sequence[str]:
        """The request headers on which a response that looked at its session depends."""
        ...

    def transport_for(self, environ: WSGIEnvironment) -> Transport:
        """Return the transport that answers the client of this request."""
        ...

    def session_headers(self, state: State, environ: WSGIEnvironment) -> Headers:
        """Return the headers that a committed session adds to its response."""
        ...


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
        middleware: Site,
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

    def __init__(self, middleware: Site, environ: WSGIEnvironment) -> None:
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
