"""One response (PEP 3333): kept back until the session is committed, and then sent.

The app's `start_response` is kept back and the session is committed as late as PEP 3333 allows: when
the app has returned a list, a tuple or a `wsgi.file_wrapper`, which is handed on as it is; else just
before the first chunk of the body, at the first `write()`, or at the end of an empty body.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from .commit import commit
from .decision import FAILED, RAISED, SUCCEEDED
from .error_responses import ERROR_STATUSES, error_response, log_replacement
from .expiry import max_age
from .request_state import Exchange
from .states import ENDED, NOTHING_TOLD, REMOVED, REPLACED, SENT, WAITING
from .unsaved import name_unsaved, watch

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]

_logger = logging.getLogger("wsgisessions")


class Response(Exchange, kw_only=True, eq=False):
    """One request and its response: what the app told `start_response`, kept back until the commit."""

    server_start_response: StartResponse
    status: str = ""
    headers: Headers = msgspec.field(default_factory=list)
    server_write: Callable[[bytes], object] | None = None

    def start_response(
        self, status: str, headers: Headers, exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Keep the status and headers back; what the app calls instead of the server's."""
        if self.status and exc_info is None:
            raise AssertionError("start_response() was called a second time without exc_info (PEP 3333)")
        if self.phase is not WAITING:
            # With exc_info after the headers have left, the server raises it; after an empty chunk they may not have
            # (PEP 3333, "Error Handling").
            write = self.server_start_response(status, self._with_session_headers_if_possible(headers), exc_info)
            self.status = status
            return write
        self.status = status
        self.headers = headers
        return self.write

    def write(self, data: bytes) -> None:
        """Send a chunk by the imperative way of PEP 3333, the headers before the first one."""
        if self.phase is WAITING:
            for chunk in self.send_headers() or ():
                self._send(chunk)
        if self.phase is not REPLACED:
            self._send(data)

    def send_headers(self) -> list[bytes] | None:
        """Commit, and give the server the headers. Return the body instead of the app's, if that failed."""
        if not self.status:
            self.abandon()
            raise AssertionError("the app returned a body before it called start_response() (PEP 3333)")
        headers = self.headers
        if self.current is not None:
            try:
                commit(self, FAILED if self.status[0] == "5" else SUCCEEDED)
                headers = with_session_headers(self, headers)
            except Exception as error:
                lost = self.undo()
                self.abandon()
                return self._replace(error, lost)
        self.phase = SENT
        self.server_write = self.server_start_response(self.status, headers)
        return None

    def answer(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body of an app that has done its work, or what replaces it."""
        replacement = None
        try:
            if self.phase is not WAITING:
                self.finish()
            elif self.current is None and self.status:
                # Nothing to commit: what send_headers() does, in fewer steps.
                self.phase = ENDED
                self.server_start_response(self.status, self.headers)
                if self.current is not None:
                    self.finish()
            else:
                replacement = self.send_headers()
                current = self.current
                if current is not None and self.phase is SENT:
                    self.phase = ENDED
                    if current.changes.assigned or current.changes.removed or current.ended:
                        # A middleware around this one has used the session while it was given the headers.
                        self.finish()
        except BaseException:
            close_quietly(body)  # the server gets no body to close
            raise
        # As release_environ(), without a call, for every request comes by here.
        environ, kept = self.environ, {}
        for name in self.transport.variables:
            if name in environ:
                kept[name] = environ[name]
        self.environ = kept
        if self.phase is not REPLACED:
            return body
        close_quietly(body)
        return replacement or []

    def fail(self, error: BaseException) -> list[bytes] | None:
        """Save nothing of an app that raised; return what the visitor is told, or None to raise on."""
        is_ours = isinstance(error, tuple(ERROR_STATUSES)) and self.phase is WAITING
        self.abandon()
        if is_ours:
            return self._replace(error)
        self.release_environ()
        return None

    def finish(self) -> None:
        """Commit what was changed after the headers had left, unless they told of a failure.

        A body that never began saves nothing.
        """
        if self.phase is WAITING:
            self.abandon()
        elif self.phase is not REPLACED:
            self.phase = ENDED
            if self.status[0] == "5":
                self.drop_changes()
            elif self.current is not None:
                self._commit_late()
        self.release_environ()

    def undo(self) -> str:
        """Drop what could not be committed, and return its names."""
        if self.current is None:
            return ""
        names = name_unsaved(self.current)
        self.current.undo()
        return names

    def _commit_late(self) -> None:
        try:
            commit(self)
        except Exception:
            _logger.exception("changes made while the response was being sent could not be saved: %s", self.undo())

    def _send(self, chunk: bytes) -> None:
        if self.server_write is not None:
            self.server_write(chunk)

    def session_headers_if_possible(self) -> Headers:
        """Return the session's headers where that must not fail: none if they cannot be written, which is logged."""
        try:
            return session_headers(self)
        except Exception:
            _logger.exception("the session's headers could not be written; the response goes out without them")
            return []

    def _with_session_headers_if_possible(self, headers: Headers) -> Headers:
        return headers if self.current is None else with_issued(self, headers, self.session_headers_if_possible())

    def abandon(self) -> None:
        """Send and save nothing more of the app's, but delete what was flushed."""
        self.phase = REPLACED
        self.drop_changes()

    def drop_changes(self) -> None:
        """Save nothing, but delete what was flushed: a visitor who has logged out must not stay signed in."""
        if self.current is None:
            return
        try:
            commit(self, RAISED)
        except Exception:
            _logger.exception("a session could not be deleted after its request had failed")

    def _replace(self, error: BaseException, lost: str = "") -> list[bytes]:
        self.phase = REPLACED
        log_replacement(error, lost)
        status, headers, body = error_response(error)
        # An ID that an earlier commit of this request has changed must reach the client all the same.
        self.server_write = self.server_start_response(status, self._with_session_headers_if_possible(headers))
        return [] if self.environ.get("REQUEST_METHOD") == "HEAD" else [body]


def with_session_headers(exchange: Exchange, headers: Headers) -> Headers:
    """Return a response's headers with those of its session, once that is committed."""
    if exchange.current is None:
        return headers
    issued = session_headers(exchange)
    return with_issued(exchange, headers, issued) if issued else varying(headers, exchange.transport.vary)


def with_issued(exchange: Exchange, headers: Headers, issued: Headers) -> Headers:
    """Return a response's headers with those of its session, which may be among them already."""
    issued = [header for header in issued if header not in headers]
    if issued and not _has(headers, "cache-control"):
        issued.append(("Cache-Control", f'no-cache="{issued[0][0]}"'))
    return varying(headers, exchange.transport.vary) + issued


def session_headers(exchange: Exchange) -> Headers:
    """Return the response headers that tell the client what became of its session's ID."""
    settings, transport, environ, current = exchange.settings, exchange.transport, exchange.environ, exchange.current
    if current is None:
        return []
    if current.told is REMOVED:
        return list(transport.withdraw(environ))
    if current.stored is None:
        return []
    if current.told is NOTHING_TOLD and current.stored.session_id not in current.outdated:
        return []
    _warn(exchange)
    seconds = max_age(current.expiry or settings.expiry, current.stored.record.expires_at, settings.clock())
    return list(transport.issue(environ, current.stored.session_id.text, seconds))


def _warn(exchange: Exchange) -> None:
    """Tell the log, once, why the ID that is issued will not be of use."""
    settings = exchange.settings
    for about, warning in exchange.transport.warnings(exchange.environ):
        settings.warn_once(about, warning)
    if not settings.store.is_shared and exchange.environ.get("wsgi.multiprocess"):
        settings.warn_once(
            "store",
            f"{type(settings.store).__name__} is not shared between the processes of this server, so a visitor's"
            " session is found by one of them only; use SQLiteStore or another shared store",
        )


class Body:
    """A body whose chunks the app makes while they are sent: a generator, a stream, Flask's response."""

    __slots__ = ("_body", "_chunks", "_response")

    def __init__(self, body: Iterable[bytes], response: Response) -> None:
        self._body: Iterable[bytes] = body
        self._response = response
        self._chunks = _chunks(body, response)

    def begin(self) -> None:
        """Make the first chunk now, and with it the headers."""
        try:
            first = next(self._chunks, None)
        except BaseException:
            self.close()  # the server will not: it gets no body
            raise
        if first is not None:
            self._chunks = chain([first], self._chunks)

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Close the app's body, then commit what it changed since the headers left (PEP 3333)."""
        body, self._body = self._body, ()
        try:
            _close(body)
        finally:
            self._response.finish()

    def __del__(self) -> None:
        # Neither read to its end nor closed. The app's own body is closed next, and may still use the session.
        response = self._response
        if response.phase in (WAITING, SENT):
            response.phase = ENDED
            if response.current is not None:
                watch(response)


def _chunks(body: Iterable[bytes], response: Response) -> Iterator[bytes]:
    """Make a body's chunks, the headers before the first one, and commit at its end."""
    chunks: Iterator[bytes] | None = None
    while response.phase is not REPLACED:
        try:
            chunks = iter(body) if chunks is None else chunks
            chunk = next(chunks, None)
        except BaseException as error:
            replacement = response.fail(error)
            if replacement is None:
                raise
            yield from replacement
            return
        # An empty chunk too must find the headers given to the server.
        if response.phase is WAITING:
            yield from response.send_headers() or ()
        if chunk is None:
            # Some servers and wrappers never call close().
            response.finish()
            return
        if response.phase is not REPLACED:
            yield chunk


def is_ready(body: object, environ: WSGIEnvironment) -> bool:
    """Tell whether a body is made already: a list, a tuple, or a file for the server's `wsgi.file_wrapper`."""
    if isinstance(body, (list, tuple)):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def close_quietly(body: Any) -> None:
    """Close the body of a response that is not sent; what that raises must not hide why."""
    try:
        _close(body)
    except Exception:
        _logger.exception("the body of a response that was replaced could not be closed")


def _close(body: Any) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _has(headers: Headers, name: str) -> bool:
    return any(key.lower() == name for key, _ in headers)


def varying(headers: Headers, names: str) -> Headers:
    """Return the headers with `names` in their Vary: in one field, since some caches read only the first."""
    for key, _ in headers:
        if key.lower() == "vary":
            return _joined_vary(headers, names)
    return [*headers, ("Vary", names)]


def _joined_vary(headers: Headers, names: str) -> Headers:
    fields = ",".join(value for key, value in headers if key.lower() == "vary")
    present = [each.strip() for each in fields.split(",") if each.strip()]
    lowered = {each.lower() for each in present}
    missing = [] if "*" in lowered else [name for name in names.split(", ") if name.lower() not in lowered]
    if present and not missing:
        return list(headers)
    others = (header for header in headers if header[0].lower() != "vary")
    return [*others, ("Vary", ", ".join(present + missing))]
