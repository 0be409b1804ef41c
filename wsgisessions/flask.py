"""Flask: `flask.session` is a `wsgisessions.Session`, committed when the response's headers are due.

    from flask import Flask, session
    from wsgisessions import SQLiteStore
    from wsgisessions.flask import Sessions

    app = Flask(__name__)
    Sessions(app, SQLiteStore("sessions.db"))

Flask's own configuration is honoured: `SESSION_COOKIE_NAME`, `_PATH`, `_DOMAIN`, `_SECURE`,
`_HTTPONLY`, `_SAMESITE` and `_PARTITIONED` (each may have what `Cookie` takes in its place, `"auto"` and
functions of the environ too), `PERMANENT_SESSION_LIFETIME` (the idle time of a session with
`session.permanent = True`) and `SESSION_REFRESH_EACH_REQUEST` (off: reading does not put the end
of a permanent session off). A `transport` given to `Sessions` goes before the cookie's configuration.
No `SECRET_KEY` is needed. `Sessions(app, store, flask_login=True)` ties the session to Flask-Login.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response, got_request_exception, has_request_context, request
from flask.sessions import SessionInterface, SessionMixin

from .error_responses import ERROR_STATUSES
from .errors import ConfigurationError
from .expiry import OnInactivity
from .flashes import with_flashes_merged
from .flask_cookie import ConfiguredCookie
from .flask_exchange import FlaskExchange, commit_detached, is_streamed
from .manager import SessionManager
from .middleware import SessionMiddleware
from .request_state import Exchange
from .response import Response as MiddlewareResponse
from .session import Session, default_expiry, exchange_of
from .states import ENDED, WAITING
from .stores.base import Store

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from typing_extensions import Unpack

    from .options import MiddlewareOptions

EXTENSION = "wsgisessions"

_FLASHES = "_flashes"
"""Where Flask's `flash()` keeps its messages."""

_SOCKETIO = "flask.app"
"""What Flask-SocketIO leaves in the environ of the request by which a client connected, for all of its events."""

_MANAGED_BY_SOCKETIO = (
    "Flask-SocketIO gives its events a copy of the session (manage_session=True, its default): what they write never"
    " reaches the store, and they see nothing that requests write. To share the session, write"
    " SocketIO(app, manage_session=False)"
)

_logger = logging.getLogger("wsgisessions")


class Sessions:
    """Make `flask.session` a session of this package.

    Give it the app at once, or later by `init_app`, as app factories do; one object can serve several
    apps. An error of this package that has a status of its own (503, 409, 413, 400) is answered by the app's
    handler for it, or for a 500. Without one, Flask logs it, and the visitor is told what `SessionMiddleware` tells.

    :param app: the app.
    :param store: where the sessions are kept.
    :param flask_login: let Flask-Login's logins change the session's ID and bind it to the user, as
        `session.login(user_id)` does, and its logouts end the session. Restoring a user by the remember
        cookie and `confirm_login()` count as logins, a refusal by "strong" protection as a logout.
    :param options: `wsgisessions.options.MiddlewareOptions` describes each.
    :raises ConfigurationError: an option, or the app's configuration of the cookie, makes no sense.
    :raises ImportError: `flask_login` is asked for, and Flask-Login is not installed.
    """

    def __init__(
        self,
        app: Flask | None = None,
        store: Store | None = None,
        *,
        flask_login: bool = False,
        **options: Unpack[MiddlewareOptions],
    ) -> None:
        self._store = store
        self._flask_login = flask_login
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, store: Store | None = None) -> None:
        """Serve an app, on this store or the one given before."""
        store = self._store if store is None else store
        if not isinstance(app, Flask):
            raise ConfigurationError(
                f"Sessions takes the Flask app, then the store; got {type(app).__name__} as the app"
            )
        if store is None:
            raise ConfigurationError("Sessions needs a store, such as Sessions(app, SQLiteStore('sessions.db'))")
        if EXTENSION in app.extensions:
            raise ConfigurationError("this app has its Sessions already; call init_app() once for each app")
        options: MiddlewareOptions = {"transport": ConfiguredCookie(app), **self._options}
        options["merges"] = with_flashes_merged(_FLASHES, options)
        middleware = FlaskMiddleware(app.wsgi_app, store, **options)
        wrapped: Any = app
        wrapped.wsgi_app = middleware
        app.session_interface = Interface(middleware)
        app.extensions[EXTENSION] = middleware
        got_request_exception.connect(_note_error, app)
        if self._flask_login:
            _follow_logins(app)
        if "SESSION_TYPE" in app.config:
            _logger.warning(
                "Flask-Session's SESSION_TYPE and the options beside it are not read; docs/migrating.md says what to"
                " write for each"
            )

    @staticmethod
    def manager(app: Flask) -> SessionManager:
        """Return the app's manager, to end sessions of other devices and the like.

        :raises ConfigurationError: the app has no `Sessions`.
        """
        middleware: SessionMiddleware | None = app.extensions.get(EXTENSION)
        if middleware is None:
            raise ConfigurationError("this app has no Sessions yet; call Sessions(app, store) first")
        return middleware.manager


class FlaskSession(Session, SessionMixin):  # pyright: ignore[reportIncompatibleMethodOverride] -- see Session.get
    """A session with the attributes that Flask's have."""

    def __init__(self, exchange: Exchange, app: Flask) -> None:
        super().__init__(exchange)
        self._app = app

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser; set to True, for `PERMANENT_SESSION_LIFETIME` of idle time."""
        return self.expiry.outlives_browser

    @permanent.setter
    def permanent(self, value: bool) -> None:
        expiry = OnInactivity(self._app.permanent_session_lifetime) if value else default_expiry(self)
        if self.expiry != expiry:
            self.expiry = expiry

    @property
    def new(self) -> bool:
        """Whether the store does not have this session (yet). Setting it does nothing."""
        return self.is_new

    @new.setter
    def new(self, value: bool) -> None:
        pass

    @property
    def modified(self) -> bool:
        """Whether the request changed the session, committed or not. Setting it does nothing: changes are found."""
        current = exchange_of(self).current
        return self.is_modified or (current is not None and current.has_saved)

    @modified.setter
    def modified(self, value: bool) -> None:
        pass


class FlaskMiddleware(SessionMiddleware):
    """The middleware, with responses that are committed inside Flask."""

    response_class = FlaskExchange


class Interface(SessionInterface):
    """Hands Flask the middleware's session, and commits it where the response is not streamed."""

    def __init__(self, middleware: SessionMiddleware) -> None:
        self._middleware = middleware

    def open_session(self, app: Flask, request: Request) -> FlaskSession:
        """Return the request's session.

        Without a middleware around, as in `client.session_transaction()`, it is one that Flask saves. So it is in a
        websocket, and in an event that gets the environ of an earlier request, such as Flask-SocketIO's. No response
        carries their headers, so they cannot start a session or change its ID, and say so.
        """
        middleware, environ = self._middleware, request.environ
        exchange, is_websocket = self.exchange(environ), _is_websocket(environ)
        if isinstance(exchange, FlaskExchange):
            if not is_websocket and exchange.open(app):
                return FlaskSession(exchange, app)
        elif exchange is not None and middleware.shared_session(environ) is not None:
            return FlaskSession(exchange, app)
        settings = middleware.manager.settings
        is_event = exchange is not None or _SOCKETIO in environ or is_websocket
        if _SOCKETIO in environ and getattr(app.extensions.get("socketio"), "manage_session", False):
            settings.warn_once("manage_session", _MANAGED_BY_SOCKETIO)
        return FlaskSession(
            Exchange(settings, middleware.transport, environ, phase=ENDED if is_event else WAITING), app
        )

    def exchange(self, environ: WSGIEnvironment) -> Exchange | None:
        """Return what a middleware has put into an environ, of this request or an earlier one."""
        session = environ.get(self._middleware.environ_key)
        return exchange_of(session) if isinstance(session, Session) else None

    def regenerate(self, session: Session) -> None:
        """Give a session a new ID, by Flask-Session's name for it; the same as `session.cycle_id()`."""
        session.cycle_id()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Commit the session, unless the response is streamed or another app's middleware commits it."""
        if not isinstance(session, FlaskSession):
            return
        exchange = exchange_of(session)
        if not app.config["SESSION_REFRESH_EACH_REQUEST"] and session.is_loaded and session.permanent:
            session.renews_on_read = False
        if isinstance(exchange, FlaskExchange):
            if not is_streamed(response):
                is_outermost = exchange.settings is self._middleware.manager.settings
                exchange.commit_in_flask(app, response, is_outermost=is_outermost)
        elif not isinstance(exchange, MiddlewareResponse):
            commit_detached(exchange, response)


def _is_websocket(environ: WSGIEnvironment) -> bool:
    """Tell whether a request asks to become a websocket (RFC 6455, section 4.2.1)."""
    if environ.get("HTTP_UPGRADE", "").lower() != "websocket":
        return False
    options = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return "upgrade" in (option.strip() for option in options)


def _follow_logins(app: Flask) -> None:
    try:
        from .flask_login import follow_logins
    except ModuleNotFoundError as error:
        raise ImportError("flask_login=True needs Flask-Login: pip install flask-login", name=error.name) from error
    follow_logins(app)


def _note_error(app: Flask, exception: Exception, **_: Any) -> None:
    """Keep an error that no handler of the app has answered, until Flask has made a page for it."""
    interface = app.session_interface
    if not isinstance(interface, Interface) or not has_request_context():
        return
    exchange = interface.exchange(request.environ)
    if isinstance(exchange, FlaskExchange) and isinstance(exception, tuple(ERROR_STATUSES)):
        exchange.error = exception
