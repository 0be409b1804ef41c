"""Reaching into a session from a test, beside the client that holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from werkzeug.http import parse_cookie

from ..errors import ConfigurationError
from ..middleware import SessionMiddleware
from ..request_state import Exchange
from ..response import Headers, session_headers
from ..session import Session
from ..transports import Header

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@contextmanager
def open_session(app: Any, client: Any) -> Iterator[Session]:
    """Open the session that a test client holds, to seed or inspect it; it is committed at the end of the block.

        with open_session(app, client) as session:
            session["cart"] = ["tea"]

    The client keeps the cookie that comes of it: it sends a request before the block and one after it, which the
    middleware answers in the app's place. An exception in the block commits nothing.

    :param app: the `SessionMiddleware`, or the Flask app with its `Sessions`.
    :param client: a werkzeug or Flask test client, a WebTest `TestApp`, or, for calls of bare WSGI, the environ
        of the requests, whose `HTTP_COOKIE` (or header, with the `Header` transport) is set anew.
    :raises ConfigurationError: it is none of those.
    """
    middleware = _find_middleware(app)
    if isinstance(client, MutableMapping):
        environ: WSGIEnvironment = dict(client)
    elif callable(getattr(client, "get", None)):
        _require_cookies(middleware)
        environ = _environ_of(middleware, client)
    else:
        raise ConfigurationError(
            "open_session(app, client) takes a werkzeug or Flask test client, a WebTest TestApp or a WSGI environ;"
            f" got {type(client).__name__}"
        )
    exchange = Exchange(middleware.manager.settings, middleware.transport, environ)
    session = middleware.session_class(exchange)
    yield session
    middleware.manager.commit(session)
    headers = session_headers(exchange)
    if isinstance(client, MutableMapping):
        _remember(middleware, client, headers)
    elif headers:
        _answer(middleware, client, lambda environ: headers)


def _find_middleware(app: Any) -> SessionMiddleware:
    extensions = getattr(app, "extensions", None)
    found = extensions.get("wsgisessions") if isinstance(extensions, dict) else app
    if not isinstance(found, SessionMiddleware):
        raise ConfigurationError(
            "open_session(app, client) takes the SessionMiddleware, or the Flask app with its Sessions;"
            f" got {type(app).__name__}"
        )
    return found


def _require_cookies(middleware: SessionMiddleware) -> None:
    if all(isinstance(each, Header) for each in middleware.transports):
        raise ConfigurationError(
            "a test client keeps cookies, and this middleware's sessions travel in a header; give open_session()"
            " the environ of the requests, a dict, instead"
        )


def _environ_of(middleware: SessionMiddleware, client: Any) -> WSGIEnvironment:
    seen: list[WSGIEnvironment] = []

    def look(environ: WSGIEnvironment) -> Headers:
        seen.append(dict(environ))
        return []

    _answer(middleware, client, look)
    if not seen:
        raise ConfigurationError("the client's requests do not reach the SessionMiddleware; is it around another app?")
    return seen[-1]


def _answer(middleware: SessionMiddleware, client: Any, headers_for: Callable[[WSGIEnvironment], Headers]) -> None:
    """Let the client send a request, and answer it in the app's place."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), *headers_for(environ)])
        return [b""]

    middleware.app, replaced = app, middleware.app
    try:
        client.get("/")
    finally:
        middleware.app = replaced


def _remember(middleware: SessionMiddleware, environ: MutableMapping[str, Any], headers: list[tuple[str, str]]) -> None:
    cookies = dict(parse_cookie(environ.get("HTTP_COOKIE", "")).items())
    for name, value in headers:
        if name != "Set-Cookie":
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
            continue
        cookie, _, attributes = value.partition(";")
        key, _, text = cookie.partition("=")
        cookies.pop(key, None)
        if "max-age=0" not in attributes.lower().replace(" ", "").split(";"):
            cookies[key] = text
    if cookies:
        environ["HTTP_COOKIE"] = "; ".join(f"{key}={text}" for key, text in cookies.items())
    else:
        environ.pop("HTTP_COOKIE", None)
