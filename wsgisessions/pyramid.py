"""Pyramid: `request.session` is a `wsgisessions.Session` with all that Pyramid's `ISession` asks for.

    from pyramid.config import Configurator
    from wsgisessions import SQLiteStore
    from wsgisessions.pyramid import session_factory

    config = Configurator(session_factory=session_factory(SQLiteStore("sessions.db")))
    config.include("wsgisessions.pyramid")

The second line answers a store that is down with 503, and the errors beside it as `SessionMiddleware` does, where
the app has no exception view of its own for them; and it lets a streamed response be the first to touch the session.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyramid.events import NewRequest
from pyramid.interfaces import ISession
from pyramid.response import Response as PyramidResponse
from zope.interface import implementer

from .error_responses import ERROR_STATUSES, error_response, log_replacement
from .flashes import with_flashes_merged
from .middleware import SessionMiddleware
from .response import Body, Headers, Response, close_quietly, is_ready
from .session import Session, same_session
from .states import WAITING
from .stores.base import Store

if TYPE_CHECKING:
    from pyramid.config import Configurator
    from pyramid.request import Request
    from typing_extensions import Unpack

    from .options import MiddlewareOptions

# Pyramid's own names, which its SessionCSRFStoragePolicy and others look up.
_CSRF_TOKEN = "_csrft_"  # noqa: S105 -- where it is kept
_FLASH_QUEUE = "_f_"


def session_factory(store: Store, **options: Unpack[MiddlewareOptions]) -> Callable[[Request], PyramidSession]:
    """Return what `Configurator(session_factory=...)` takes.

    The session is committed when the view's response is there, and its headers are added to it; what a streamed
    response changes later is committed at its end. A request that does not touch `request.session` costs nothing.

    :param store: where the sessions are kept.
    :param options: `wsgisessions.options.MiddlewareOptions` describes each.
    :raises ConfigurationError: an option makes no sense.
    """
    options["merges"] = with_flashes_merged(_FLASH_QUEUE, options)
    middleware = PyramidMiddleware(_no_app, store, **options)
    settings = middleware.manager.settings

    def open_session(request: Request) -> PyramidSession:
        shared = middleware.shared_session(request.environ)
        if shared is not None:
            return same_session(shared, PyramidSession)
        sent: list[tuple[str, Headers]] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            sent.append((status, headers))
            return _no_write

        kept_back = Response(settings, middleware.transport, request.environ, server_start_response=start_response)
        session = PyramidSession(kept_back)
        has_let_others_go_first = is_streamed = False

        def commit(request: Request, response: Any) -> None:
            nonlocal has_let_others_go_first, is_streamed
            if request.response_callbacks and not has_let_others_go_first:
                # They may change the session. Once only, lest two that do so go round in circles.
                has_let_others_go_first = True
                request.add_response_callback(commit)
                return
            kept_back.start_response(response.status, response.headerlist)
            replacement = kept_back.send_headers()
            if replacement is not None:
                close_quietly(response.app_iter)
                response.app_iter = replacement
            response.status, response.headerlist = sent[-1]
            if replacement is None and not is_ready(response.app_iter, request.environ):
                response.app_iter, is_streamed = Body(response.app_iter, kept_back), True

        def finish(request: Request) -> None:
            # A streamed response is finished at its end, which is later than this.
            if kept_back.phase is WAITING or not is_streamed:
                kept_back.finish()

        request.add_response_callback(commit)
        request.add_finished_callback(finish)
        request.environ[middleware.environ_key] = session
        return session

    return open_session


def includeme(config: Configurator) -> None:
    """Answer this package's errors as `SessionMiddleware` does; for `config.include("wsgisessions.pyramid")`.

    Opens each request's session, without a look inside: while a response is being sent it would be too late.
    """
    config.add_subscriber(lambda event: event.request.session, NewRequest)
    for error in ERROR_STATUSES:
        config.add_exception_view(_show_error, context=error)


@implementer(ISession)
class PyramidSession(Session):
    """A session with the attributes that Pyramid's have."""

    @property
    def created(self) -> int:
        """When the session was first stored, or now, in seconds since 1970."""
        return int(time.time() if self.created_at is None else self.created_at.timestamp())

    @property
    def new(self) -> bool:
        """Whether the store does not have this session (yet)."""
        return self.is_new

    def changed(self) -> None:
        """Do nothing: changes are found by themselves, in nested values too."""

    def invalidate(self) -> None:
        """Delete the session with all its data; what is written afterwards starts a new one."""
        self.flush()

    def flash(self, msg: Any, queue: str = "", allow_duplicate: bool = True) -> None:
        """Add a message to a queue; without `allow_duplicate`, only one that is not in it."""
        messages = self.setdefault(_FLASH_QUEUE + queue, [])
        if allow_duplicate or msg not in messages:
            messages.append(msg)

    def pop_flash(self, queue: str = "") -> list[Any]:
        """Remove a queue, and return its messages."""
        messages: list[Any] = self.pop(_FLASH_QUEUE + queue, [])
        return messages

    def peek_flash(self, queue: str = "") -> list[Any]:
        """Return a queue's messages, and leave them there."""
        messages: list[Any] = self.get(_FLASH_QUEUE + queue, [])
        return messages

    def new_csrf_token(self) -> str:
        """Set a new, random token against cross-site request forgery, and return it."""
        token = secrets.token_hex(20)
        self[_CSRF_TOKEN] = token
        return token

    def get_csrf_token(self) -> str:
        """Return the token, a new one if there is none."""
        token: str | None = self.get(_CSRF_TOKEN)
        return self.new_csrf_token() if token is None else token


class PyramidMiddleware(SessionMiddleware):
    """The middleware's parts, with Pyramid's kind of session; Pyramid calls them instead of a WSGI server."""

    session_class = PyramidSession


def _show_error(error: Exception, request: Request) -> PyramidResponse:
    log_replacement(error)
    status, headers, body = error_response(error)
    return PyramidResponse(body=body, status=status, headerlist=headers)


def _no_app(environ: Mapping[str, Any], start_response: Any) -> list[bytes]:
    raise AssertionError("Pyramid calls the views itself")


def _no_write(data: bytes) -> None:
    raise AssertionError("Pyramid's responses have no write()")
