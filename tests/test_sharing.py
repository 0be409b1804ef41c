"""Of several middlewares around an app with one environ key, the outermost one's session is everybody's."""

import logging

import pytest
from flask import Flask, redirect, session
from webtest import TestApp
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from wsgisessions import Cookie, MemoryStore, SessionMiddleware, StoreUnavailable, get_session
from wsgisessions.flask import Sessions

PLAIN = Cookie(secure=False)


def count(environ, start_response):
    seen = get_session(environ)
    seen["n"] = seen.get("n", 0) + 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(seen["n"]).encode()]


@pytest.fixture
def store(make_recording_store):
    return make_recording_store()


@pytest.fixture
def flask_app(store):
    app = Flask("shop")
    Sessions(app, store)

    @app.get("/")
    def index():
        session.setdefault("seen", []).append("flask")
        return f"{session.owner} {session.get('n')}"

    @app.get("/login")
    def log_in():
        session.login("ann")
        session.permanent = True
        return redirect("/")

    @app.get("/untouched")
    def untouched():
        return "untouched"

    return app


@pytest.fixture
def client(flask_app, store):
    apps = DispatcherMiddleware(flask_app, {"/count": count})
    return TestApp(SessionMiddleware(apps, store, transport=PLAIN))


def test_flasks_session_is_the_one_of_the_middleware_around(client, store):
    assert client.get("/count").text == "1"
    response = client.get("/login")
    assert [cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")] == ["id"]
    assert client.get("/").text == "ann 1"
    assert client.get("/count").text == "2"
    assert len(list(store.find("ann"))) == 1


def test_a_flask_app_that_does_not_touch_it_costs_nothing(client, store):
    client.get("/count")
    store.taken()
    response = client.get("/untouched")
    assert store.taken() == []
    assert "Vary" not in response.headers


def test_a_request_still_costs_one_load_and_one_update(client, store):
    client.get("/")
    store.taken()
    client.get("/")
    assert store.taken() == ["load", "update"]


def test_the_same_flask_app_served_alone_has_its_own(flask_app):
    client = flask_app.test_client()
    client.get("/login")
    assert client.get_cookie("session") is not None
    assert client.get("/").text == "ann None"


def test_of_two_middlewares_with_one_key_the_outer_one_sets_the_cookie(store):
    inner = SessionMiddleware(count, store, transport=Cookie("inner", secure=False))
    client = TestApp(SessionMiddleware(inner, store, transport=PLAIN))
    assert [client.get("/").text for _ in range(3)] == ["1", "2", "3"]
    assert list(client.cookies) == ["id"]


def test_two_keys_are_two_sessions(store):
    def app(environ, start_response):
        get_session(environ, "second")["n"] = 10
        return count(environ, start_response)

    inner = SessionMiddleware(app, store, transport=Cookie("inner", secure=False), environ_key="second")
    client = TestApp(SessionMiddleware(inner, store, transport=PLAIN))
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]
    assert sorted(client.cookies) == ["id", "inner"]


def test_another_store_that_is_not_used_is_told_once(store, caplog):
    client = TestApp(SessionMiddleware(SessionMiddleware(count, MemoryStore()), store, transport=PLAIN))
    with caplog.at_level(logging.WARNING, "wsgisessions"):
        client.get("/")
        client.get("/")
    assert [record.getMessage() for record in caplog.records if "further out" in record.getMessage()] == [
        "another SessionMiddleware further out has a session at environ['wsgisessions.session'], and another store;"
        " its session is used. For a session beside it, use another environ_key and cookie name"
    ]


def fail(environ, start_response):
    get_session(environ)["n"] = 100
    raise ZeroDivisionError


def untouched(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b""]


def stream_untouched(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""


@pytest.mark.parametrize("first", [count, fail, untouched, stream_untouched])
def test_an_environ_that_is_used_again_has_a_session_that_is_saved(store, first):
    """As of what tries a request again, or asks the app for the page of an error."""
    views = []
    middleware = SessionMiddleware(
        lambda environ, start_response: views.pop(0)(environ, start_response), store, transport=PLAIN
    )

    def twice(environ, start_response):
        views[:] = [first, count]
        try:
            body = middleware(environ, lambda status, headers, exc_info=None: None)
            if hasattr(body, "close"):
                body.close()
        except ZeroDivisionError:
            pass
        return middleware(environ, start_response)

    client = TestApp(twice)
    numbers = [int(client.get("/").text) for _ in range(2)]
    assert numbers[1] > numbers[0]


def test_a_store_that_fails_is_answered_by_the_outer_middleware(flask_app, store):
    client = TestApp(SessionMiddleware(flask_app, store, transport=PLAIN))
    client.get("/")

    def down(id_hash, patch):
        raise StoreUnavailable("the store is down")

    store.update = down
    assert client.get("/", status=503).headers["Retry-After"] == "5"
