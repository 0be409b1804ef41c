"""Flask: one request and its response, committed inside Flask where the response is not streamed.

So the headers leave when Flask returns, and what a commit raises reaches the app's error handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from flask import Flask, Response, request
from werkzeug.exceptions import InternalServerError
from werkzeug.wsgi import ClosingIterator

from .commit import commit
from .decision import FAILED, SUCCEEDED, Result
from .error_responses import error_response, log_replacement
from .request_state import Exchange
from .response import Headers, close_quietly, session_headers, varying, with_issued, with_session_headers
from .response import Response as MiddlewareResponse
from .states import COMMITTED, SENT, WAITING

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

_SERVER_ERRORS = 500

_OF_THE_CONTENT = (
    *("Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range", "Content-MD5"),
    *("Content-Disposition", "Content-Location", "Accept-Ranges", "ETag", "Last-Modified", "Cache-Control", "Expires"),
    *("Location", "Refresh", "Link", "WWW-Authenticate", "X-Sendfile", "X-Accel-Redirect"),
)


class FlaskExchange(MiddlewareResponse, kw_only=True, eq=False):
    """One request and its response, as the middleware and Flask's session interface share them."""

    opened_by: Flask | None = None
    """The app that has it as its session now."""
    issued: Headers = msgspec.field(default_factory=list)
    """The session's headers, once they are in the response that Flask has made."""
    error: Exception | None = None
    """An error with a status of its own, of which Flask makes a page, for the app has no handler for it."""

    def open(self, app: Flask) -> bool:
        """Make it the session of an app, and tell whether it can be.

        It cannot while the app has it already, nor once the headers have left. Of two apps for one request, as a
        dispatcher calls them, the second one commits anew.
        """
        if self.phase not in (WAITING, COMMITTED) or self.opened_by is app:
            return False
        self.opened_by, self.phase = app, WAITING
        return True

    def start_response(
        self, status: str, headers: Headers, exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Pass on the status and headers of a response that is committed; keep others back."""
        if self.phase is not COMMITTED:
            return MiddlewareResponse.start_response(self, status, headers, exc_info)
        if self.current is not None:
            headers = with_issued(self, headers, self.issued)
        self.status, self.phase = status, SENT
        self.server_write = self.server_start_response(status, headers)
        return self.write

    def fail(self, error: BaseException) -> list[bytes] | None:
        """Let through what leaves Flask, which has handled all that it does not mean to propagate."""
        if self.status:
            return MiddlewareResponse.fail(self, error)
        self.abandon()
        self.release_environ()
        return None

    def commit_in_flask(self, app: Flask, response: Response, *, is_outermost: bool) -> None:
        """Commit, and put the session's headers into the response, or the answer of the app's error handler.

        Flask comes again with the page for an error. Nothing is committed then.

        :param is_outermost: whether the response is the one that leaves, and no part of another app's.
        :raises Exception: the commit failed, and the app has no handler for that error.
        """
        error, self.error = self.error, None
        if error is not None and _is_flasks_page(app, response):
            status, headers, body = error_response(error)
            _replace(response, Response(body, status, headers))
        if self.phase is WAITING:
            try:
                if self.current is not None:
                    self._commit(app, response)
            finally:
                if is_outermost:
                    self.phase = COMMITTED
        if self.current is not None:
            set_headers(response, with_issued(self, list(response.headers), self.issued))

    def _commit(self, app: Flask, response: Response) -> None:
        try:
            commit(self, result_of(response))
            self.issued = session_headers(self)
        except Exception as error:
            lost = self.undo()
            self.drop_changes()
            self.issued = self.session_headers_if_possible()
            answer = app.make_response(app.handle_user_exception(error))
            log_replacement(error, lost)
            _replace(response, answer)
            self._commit_of_handler()

    def _commit_of_handler(self) -> None:
        """Commit what an error handler has written, such as a message for the next page; once only."""
        try:
            commit(self)
        except Exception as error:
            log_replacement(error, self.undo())
        self.issued = self.session_headers_if_possible()


def is_streamed(response: Response) -> bool:
    """Tell whether a response is made while it is sent.

    Flask's own error pages are WSGI apps, and look so. But their length is known.
    """
    return response.is_streamed and not (_is_made_by_wsgi_app(response) and response.content_length is not None)


def commit_detached(exchange: Exchange, response: Response) -> None:
    """Commit what no middleware commits, a test's transaction or an event, and put its headers into the response."""
    commit(exchange, result_of(response))
    set_headers(response, with_session_headers(exchange, list(response.headers)))


def result_of(response: Response) -> Result:
    """Return what became of the app, by the status of its response."""
    return FAILED if response.status_code >= _SERVER_ERRORS else SUCCEEDED


def set_headers(response: Response, headers: Headers) -> None:
    """Give a response other headers."""
    response.headers.clear()
    response.headers.extend(headers)


def _is_made_by_wsgi_app(response: Response) -> bool:
    """Tell whether Flask has called a WSGI app for a response, such as an HTTP exception."""
    return isinstance(response.response, ClosingIterator)


def _is_flasks_page(app: Flask, response: Response) -> bool:
    """Tell whether a response is Flask's page for a 500, and none of the app's or of a library's."""
    is_page = _is_made_by_wsgi_app(response) and response.mimetype == "text/html"
    if response.status_code != InternalServerError.code or not is_page:
        return False
    scopes = [app.error_handler_spec.get(scope, {}) for scope in (*request.blueprints, None)]
    handlers = [scope.get(code, {}) for scope in scopes for code in (InternalServerError.code, None)]
    return not any(kind in each for each in handlers for kind in InternalServerError.__mro__)


def _replace(response: Response, answer: Response) -> None:
    """Turn a response into another, but for what `after_request` functions have added, such as CORS headers."""
    close_quietly(response.response)
    response.status = answer.status
    response.response = answer.response
    response.direct_passthrough = answer.direct_passthrough
    response.call_on_close(answer.close)
    vary = ", ".join(response.headers.getlist("Vary"))
    for name in (*_OF_THE_CONTENT, "Set-Cookie", *answer.headers.keys()):
        response.headers.pop(name, None)
    response.headers.extend(answer.headers)
    if vary:
        set_headers(response, varying(list(response.headers), vary))
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
