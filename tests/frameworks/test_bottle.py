"""Bottle's views get the session as an argument."""

from functools import wraps

import pytest
from bottle import Bottle, request
from webtest import TestApp

from wsgisessions import ConfigurationError, Cookie, MemoryStore, SessionMiddleware, get_session
from wsgisessions.bottle import SessionPlugin


def raising_app():
    app = Bottle()
    app.catchall = False
    return app


@pytest.fixture
def app():
    app = raising_app()
    app.install(SessionPlugin())
    return app


def visit(app, store=None):
    return TestApp(SessionMiddleware(app, store or MemoryStore(), transport=Cookie(secure=False)))


def test_a_view_that_asks_gets_the_session(app):
    @app.get("/<step:int>")
    def count(step, session):
        session["n"] = session.get("n", 0) + step
        return str(session["n"])

    browser = visit(app)
    assert [browser.get("/2").text, browser.get("/3").text] == ["2", "5"]


def test_an_app_that_is_mounted_has_its_prefix_as_the_cookies_path(app):
    @app.get("/cart")
    def cart(session):
        session["n"] = 1

    transport = Cookie(secure="auto", path=lambda environ: environ.get("SCRIPT_NAME") or "/")
    site = Bottle()
    site.mount("/shop", SessionMiddleware(app, MemoryStore(), transport=transport))
    header = TestApp(site).get("/shop/cart").headers["Set-Cookie"]
    assert header.startswith("id=")
    assert "; Path=/shop" in header


def test_a_view_that_does_not_ask_is_left_alone(app):
    @app.get("/")
    def plain():
        return "plain"

    response = visit(app).get("/")
    assert response.text == "plain"
    assert "Vary" not in response.headers


def test_a_view_may_be_a_closure_over_plain_values(app):
    text = "plain"
    app.route("/asks", callback=lambda session: text + session.setdefault("n", "!"))
    app.route("/plain", callback=lambda: text)
    browser = visit(app)
    assert (browser.get("/asks").text, browser.get("/plain").text) == ("plain!", "plain")


@pytest.mark.parametrize("keeps_its_signature", [True, False])
def test_a_decorated_view_gets_the_session(app, keeps_its_signature):
    def louder(view):
        mark = "!"

        def wrapper(**arguments):
            return view(**arguments) + mark if arguments else wrapper(session={})

        return wraps(view)(wrapper) if keeps_its_signature else wrapper

    @app.get("/")
    @louder
    def count(session):
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    browser = visit(app)
    assert [browser.get("/").text for _ in range(2)] == ["1!", "2!"]


def test_a_streaming_view_keeps_its_changes(app):
    @app.get("/")
    def stream(session):
        session["n"] = session.get("n", 0) + 1
        yield "one"
        yield str(session["n"])

    browser = visit(app)
    assert browser.get("/").text == "one1"
    assert browser.get("/").text == "one2"


def test_the_argument_may_have_another_name():
    app = raising_app()
    app.install(SessionPlugin(keyword="visitor"))

    @app.get("/")
    def view(visitor):
        return str(len(visitor))

    assert visit(app).get("/").text == "0"


def test_two_plugins_for_one_argument_are_refused(app):
    with pytest.raises(ConfigurationError, match="another keyword"):
        app.install(SessionPlugin())


def test_a_plugin_takes_no_store():
    with pytest.raises(ConfigurationError, match="the store goes to SessionMiddleware"):
        SessionPlugin(MemoryStore())


def test_without_the_middleware_the_error_says_so(app):
    app.get("/")(lambda session: "never")
    with pytest.raises(ConfigurationError, match=r"SessionMiddleware\(app, store\)"):
        TestApp(app).get("/")


def test_mounted_apps_share_the_session(app):
    inner = raising_app()
    inner.install(SessionPlugin())
    inner.get("/")(lambda session: str(session["n"]))
    app.get("/")(lambda session: session.update(n=7))
    app.mount("/inner/", inner)
    browser = visit(app)
    browser.get("/")
    assert browser.get("/inner/").text == "7"


def test_a_mounted_app_has_the_same_session():
    inner, outer = Bottle(), Bottle()
    inner.install(SessionPlugin())
    outer.install(SessionPlugin())

    @outer.get("/")
    def set_n(session):
        session["n"] = 1

    @inner.get("/n")
    def get_n(session):
        session["m"] = 2
        return str(session.get("n"))

    @inner.get("/plain")
    def get_m():
        return str(get_session(request.environ)["m"])

    outer.mount("/inner/", inner)
    client = TestApp(SessionMiddleware(outer, MemoryStore()), extra_environ={"wsgi.url_scheme": "https"})
    client.get("/")
    assert client.get("/inner/n").text == "1"
    assert client.get("/inner/plain").text == "2"
