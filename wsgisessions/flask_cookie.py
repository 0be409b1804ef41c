"""Flask: the cookie that the app's configuration describes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask.sessions import SessionInterface

from .cookie_attributes import Remedies
from .cookies import Cookie
from .session_ids import PresentedID
from .transports import Caution, ResponseHeader

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class FlaskCookie(Cookie):
    """The cookie, in the words of Flask's configuration."""

    remedies = Remedies(
        secure="Behind a TLS proxy, pass on its X-Forwarded-Proto (werkzeug's ProxyFix); for development without TLS,"
        ' set SESSION_COOKIE_SECURE to "auto".',
        path='Set SESSION_COOKIE_PATH, which is APPLICATION_ROOT by default, to "/" or to the prefix of this app.'
        " Behind a proxy that takes a prefix away, pass it on as X-Forwarded-Prefix (werkzeug's ProxyFix with"
        " x_prefix=1).",
        domain="Set SESSION_COOKIE_DOMAIN to None for this host only, or to a domain above it. Behind a proxy, pass on"
        " the browser's Host (werkzeug's ProxyFix with x_host=1).",
    )


class ConfiguredCookie:
    """The cookie that the app's configuration describes at the time."""

    vary = Cookie.vary
    variables = ("HTTP_COOKIE", "wsgi.url_scheme")

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._interface = SessionInterface()
        self._settings: tuple[Any, ...] = ()
        self._cookie = self._configured()

    def read(self, environ: WSGIEnvironment, limit: int) -> Sequence[PresentedID]:
        """Return the values of the session cookie."""
        return self._configured().read(environ, limit)

    def issue(self, environ: WSGIEnvironment, session_id: str, max_age: int | None) -> Iterable[ResponseHeader]:
        """Return the header that sets the cookie."""
        return self._configured().issue(environ, session_id, max_age)

    def withdraw(self, environ: WSGIEnvironment) -> Iterable[ResponseHeader]:
        """Return the header that removes the cookie."""
        return self._configured().withdraw(environ)

    def warnings(self, environ: WSGIEnvironment) -> Iterable[Caution]:
        """Tell that the cookie would not come back."""
        return self._configured().warnings(environ)

    def _configured(self) -> Cookie:
        app, interface = self._app, self._interface
        secure: Any = interface.get_cookie_secure(app)
        settings = (
            interface.get_cookie_name(app),
            interface.get_cookie_path(app),
            interface.get_cookie_domain(app) or None,
            secure if secure == "auto" else bool(secure),
            interface.get_cookie_httponly(app),
            interface.get_cookie_samesite(app),
            interface.get_cookie_partitioned(app),
        )
        if settings != self._settings:
            self._cookie = FlaskCookie(*settings)
            self._settings = settings
        return self._cookie
