"""Flask: one request and its response, committed inside Flask where the response is not streamed.

So the headers leave when Flask returns, and what a commit raises reaches the app's error handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import InternalServerError

from .commit import commit
from .decision import FAILED, SUCCEEDED, Result
from .error_responses import error_response, log_replacement
from .request_state import Exchange
from .response import Headers, close_quietly, with_session_headers
from .response import Response as MiddlewareResponse
from .states import SENT, WAITING

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

_OF_THE_CONTENT = (
    *("Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range"),
    *("Content-Disposition", "Content-Location", "Accept-Ranges", "ETag", "Last-Modified", "Location"),
    *("Cache-Control", "Expires"),
)


class FlaskExchange(MiddlewareResponse, kw_only=True, eq=False):
    """One request and its response, as the middleware and Flask's session interface share them."""

    opened_by: Flask | None = None
    """The app whose session it is."""
    is_committed: bool = False
    """Whether its headers need nothing more, and leave with `start_response`."""
    error: Exception | None = None
    """An error with a status of its own, of which Flask makes a page, for the app has no handler for it."""

    def start_response(
        self, status: str, headers: Headers, exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Pass on the status and headers of a response that is committed; keep others back."""
        if not self.is_committed or self.phase is not WAITING:
            return MiddlewareResponse.start_response(self, status, headers, exc_info)
        self.status, self.phase = status, SENT
        self.server_write = self.server_start_response(status, headers)
        return self.write

    def fail(self, error: BaseException) -> list[bytes] | None:
        """Let through what leaves Flask, which has handled all that it does not mean to propagate."""
        if self.status:
            return MiddlewareResponse.fail(self, error)
        self.abandon()
        return None

    def commit_in_flask(self, app: Flask, response: Response) -> None:
        """Commit, and put the session's headers into the response, or the answer of the app's error handler.

        Flask comes again with the page for an error. Nothing is committed then.

        :raises Exception: the commit failed, and the app has no handler for that error.
        """
        is_first, self.is_committed = not self.is_committed, True
        if self.error is not None and response.status_code == InternalServerError.code and not _has_own_page(app):
            status, headers, body = error_response(self.error)
            _replace(response, Response(body, status, headers))
        if self.current is None:
            return
        try:
            if is_first:
                commit(self, _result_of(response))
            headers = with_session_headers(self, list(response.headers))
        except Exception as error:
            self.current.undo()  # of which the error tells
            self.drop_changes()
            if is_first:
                _replace(response, app.make_response(app.handle_user_exception(error)))
            log_replacement(error)
            headers = self.with_session_headers_if_possible(list(response.headers))
        _set_headers(response, headers)


def commit_detached(exchange: Exchange, response: Response) -> None:
    """Commit what no middleware commits, a test's transaction or an event, and put its headers into the response."""
    commit(exchange, _result_of(response))
    _set_headers(response, with_session_headers(exchange, list(response.headers)))


def _result_of(response: Response) -> Result:
    return FAILED if response.status_code >= InternalServerError.code else SUCCEEDED


def _set_headers(response: Response, headers: Headers) -> None:
    response.headers.clear()
    response.headers.extend(headers)


def _has_own_page(app: Flask) -> bool:
    """Tell whether the app has an error handler that has made a page for a 500."""
    return any(
        kind in app.error_handler_spec[scope][code]
        for scope in (*request.blueprints, None)
        for code in (InternalServerError.code, None)
        for kind in InternalServerError.__mro__
    )


def _replace(response: Response, answer: Response) -> None:
    """Turn a response into another, but for what `after_request` functions have added, such as CORS headers."""
    close_quietly(response.response)
    response.status = answer.status
    response.response = answer.response
    for name in (*_OF_THE_CONTENT, "Set-Cookie", *answer.headers.keys()):
        response.headers.pop(name, None)
    response.headers.extend(answer.headers)
