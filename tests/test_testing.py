"""A test reaches into the session that its client holds."""

import pytest
import webtest
from flask import Flask
from flask import session as flask_session
from werkzeug.test import Client

from wsgisessions import ConfigurationError, Cookie, Header, MemoryStore, SessionMiddleware, get_session
from wsgisessions.flask import Sessions
from wsgisessions.testing import open_session

KEY = "a secret key" * 3


def show(environ, start_response):
    """Tell the number and the owner, and count up where asked."""
    session = get_session(environ)
    if environ["PATH_INFO"] == "/count":
        session["n"] = session.get("n", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{session.get('n')} {session.owner}".encode()]


def make_flask(transport):
    app = Flask("shop")
    Sessions(app, MemoryStore(), transport=transport)

    @app.get("/")
    @app.get("/count", endpoint="count")
    def page():
        from flask import request

        if request.path == "/count":
            flask_session["n"] = flask_session.get("n", 0) + 1
        return f"{flask_session.get('n')} {flask_session.owner}"

    return app


class Bare:
    """Calls of bare WSGI, which share an environ."""

    def __init__(self, middleware):
        self.middleware = middleware
        self.environ = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org", "REQUEST_METHOD": "GET"}

    def get(self, path):
        headers = []
        body = self.middleware(self.environ | {"PATH_INFO": path}, lambda status, found: headers.extend(found))
        for name, value in headers:
            if name == "Set-Cookie":
                self.environ["HTTP_COOKIE"] = value.partition(";")[0]
        return b"".join(body).decode()


@pytest.fixture(params=["WebTest", "werkzeug", "Flask", "WSGI"])
def kind(request):
    return request.param


@pytest.fixture(params=["plain", "signed", "encrypted"])
def visitor(request, kind):
    """Return an app, the client to give to open_session, and what visits a path and returns the page's text."""
    keys = {"plain": {}, "signed": {"signing_keys": [KEY]}, "encrypted": {"encryption_keys": [KEY]}}[request.param]
    transport = Cookie(**keys)
    middleware = SessionMiddleware(show, MemoryStore(), transport=transport)
    if kind == "WebTest":
        client = webtest.TestApp(middleware, extra_environ={"wsgi.url_scheme": "https"})
        return middleware, client, lambda path: client.get(path).text
    if kind == "WSGI":
        bare = Bare(middleware)
        return middleware, bare.environ, bare.get
    app = make_flask(transport) if kind == "Flask" else middleware
    client = app.test_client() if kind == "Flask" else Client(app)
    return app, client, lambda path: client.get(path).text


def test_the_app_sees_what_was_seeded(visitor):
    app, client, get = visitor
    with open_session(app, client) as session:
        session["n"] = 5
    assert get("/") == "5 None"
    assert get("/count") == "6 None"


def test_the_test_sees_what_the_app_wrote(visitor):
    app, client, get = visitor
    get("/count")
    with open_session(app, client) as session:
        assert session["n"] == 1


def test_a_login_is_one_line(visitor):
    app, client, get = visitor
    with open_session(app, client) as session:
        session.login("ann")
    assert get("/") == "None ann"


def test_the_client_follows_a_new_id(visitor):
    app, client, get = visitor
    get("/count")
    with open_session(app, client) as session:
        session.cycle_id()
    assert get("/") == "1 None"


def test_the_client_follows_a_logout(visitor):
    app, client, get = visitor
    get("/count")
    with open_session(app, client) as session:
        session.logout()
    assert get("/") == "None None"


def test_an_exception_commits_nothing(visitor):
    app, client, get = visitor
    get("/count")
    with pytest.raises(RuntimeError, match="on purpose"):
        with open_session(app, client) as session:
            session["n"] = 100
            raise RuntimeError("on purpose")
    assert get("/") == "1 None"


def test_the_app_is_back_in_its_place(visitor):
    app, client, get = visitor
    with open_session(app, client):
        assert get("/count") == "1 None"


def test_a_token_is_kept_in_the_environ():
    middleware = SessionMiddleware(show, MemoryStore(), transport=Header())
    bare = Bare(middleware)
    with open_session(middleware, bare.environ) as session:
        session["n"] = 5
    assert bare.get("/") == "5 None"


def test_other_cookies_of_the_environ_stay():
    middleware = SessionMiddleware(show, MemoryStore())
    bare = Bare(middleware)
    bare.environ["HTTP_COOKIE"] = "theme=dark"
    with open_session(middleware, bare.environ) as session:
        session["n"] = 5
    assert bare.environ["HTTP_COOKIE"].startswith("theme=dark; __Host-id=")


def test_what_cannot_be_opened_is_told():
    middleware = SessionMiddleware(show, MemoryStore())
    for app, client, message in [
        (show, {}, "takes the SessionMiddleware"),
        (Flask("bare"), {}, "takes the SessionMiddleware"),
        (middleware, None, "takes a werkzeug or Flask test client"),
        (SessionMiddleware(show, MemoryStore(), transport=Header()), Client(middleware), "in a header"),
    ]:
        with pytest.raises(ConfigurationError, match=message), open_session(app, client):
            pass


def test_a_client_of_another_app_is_told():
    def other(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"other"]

    with pytest.raises(ConfigurationError, match="do not reach"):
        with open_session(SessionMiddleware(show, MemoryStore()), Client(other)):
            pass
