"""The WSGI middleware: a session for each request, committed before the headers leave.

    from wsgisessions import MemoryStore, SessionMiddleware, get_session

    def app(environ, start_response):
        session = get_session(environ)
        session["visits"] = session.get("visits", 0) + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"Visit {session['visits']}".encode()]

    app = SessionMiddleware(app, MemoryStore())

What becomes of the response in between is in response.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from .cookies import Cookie
from .errors import ConfigurationError
from .manager import SessionManager
from .response import Body, Response, is_ready
from .session import ENVIRON_KEY, Session, exchange_of
from .states import WAITING
from .stores.base import Store
from .transports import FirstUsed, Transport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from typing_extensions import Unpack

    from .options import MiddlewareOptions, Options

# Servers that send the headers which are there when the app returns, although PEP 3333 lets them come with the first
# chunk (emmett-framework/granian#845).
_TAKE_HEADERS_AT_ONCE = ("Granian",)


class SessionMiddleware:
    """Wrap a WSGI app, and give each of its requests a session at `environ["wsgisessions.session"]`.

    :param app: the app.
    :param store: where the sessions are kept: a store, such as `open_store(url)` makes.
    :param options: `wsgisessions.options.MiddlewareOptions` describes each.
    :raises ConfigurationError: an option makes no sense.
    :raises TypeError: there is no such option.
    """

    session_class: type[Session] = Session
    response_class: type[Response] = Response

    def __init__(self, app: WSGIApplication, store: Store, **options: Unpack[MiddlewareOptions]) -> None:
        if not callable(app):
            raise ConfigurationError(
                f"SessionMiddleware takes the app, then the store; got {type(app).__name__} as the app"
            )
        self.app = app
        self.environ_key = options.pop("environ_key", ENVIRON_KEY)
        self.transports = _listed(options.pop("transport", None))
        self.transport = self.transports[0] if len(self.transports) == 1 else FirstUsed(self.transports)
        self.manager = SessionManager(store, **cast("Options", options))
        self._settings = self.manager.settings

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request (PEP 3333)."""
        if self.environ_key in environ and self.shared_session(environ) is not None:
            return self.app(environ, start_response)
        response = self.response_class(self._settings, self.transport, environ, server_start_response=start_response)
        environ[self.environ_key] = self.session_class(response)
        try:
            body = self.app(environ, response.start_response)
        except BaseException as error:
            replacement = response.fail(error)
            if replacement is None:
                raise
            return replacement
        if isinstance(body, (list, tuple)) or is_ready(body, environ):
            return response.answer(body)
        chunks = Body(body, response)
        if environ.get("SERVER_SOFTWARE") in _TAKE_HEADERS_AT_ONCE:
            chunks.begin()
        return chunks

    def shared_session(self, environ: WSGIEnvironment) -> Session | None:
        """Return the session that another middleware, further out, has opened in the same place and will commit."""
        session = environ.get(self.environ_key)
        if not isinstance(session, Session):
            return None
        response = exchange_of(session)
        # An environ that is used again, as by what retries a request, still has the session of the first time.
        if not isinstance(response, Response) or response.phase is not WAITING:
            return None
        if response.settings.store is not self._settings.store:
            self._settings.warn_once(
                "outer",
                f"another SessionMiddleware further out has a session at environ[{self.environ_key!r}], and another"
                " store; its session is used. For a session beside it, use another environ_key and cookie name",
            )
        return session


def _listed(transport: Transport | Sequence[Transport] | None) -> list[Transport]:
    if transport is None:
        return [Cookie()]
    transports = list(transport) if isinstance(transport, Sequence) else [transport]
    if not transports or any(isinstance(each, type) or not hasattr(each, "issue") for each in transports):
        raise ConfigurationError("transport is Cookie(...), Header(...) or a list of them")
    return transports
