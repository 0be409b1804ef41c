"""The attacker who knows an ID before its owner does, or after: on each kind of app, and on each store."""

import secrets
import threading
from contextlib import suppress

import pytest
from webtest import TestApp

from wsgisessions import (
    MemoryStore,
    SessionInterrupted,
    SessionManager,
    SessionMiddleware,
    SQLiteStore,
    get_session,
)
from wsgisessions.session_ids import SessionID

HTTPS = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}


def flask_app(store, act):
    from flask import Flask, session

    from wsgisessions.flask import Sessions

    app = Flask("bank")
    Sessions(app, store)
    app.add_url_rule("/<path>", view_func=lambda path: act(session, path))
    return app


def bottle_app(store, act):
    from bottle import Bottle

    from wsgisessions.bottle import SessionPlugin

    app = Bottle()
    app.install(SessionPlugin())
    app.route("/<path>", callback=lambda path, session: act(session, path))
    return SessionMiddleware(app, store)


def bare_app(store, act):
    def app(environ, start_response):
        text = act(get_session(environ), environ["PATH_INFO"][1:])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]

    return SessionMiddleware(app, store)


class Client:
    """A browser; the attacker's sends whatever it likes."""

    def __init__(self, app):
        self.app = TestApp(app, extra_environ=HTTPS)
        self.cookie = ""

    def visit(self, path, cookie=None):
        sent = self.cookie if cookie is None else cookie
        # WebTest's own jar would hold back what is no valid cookie.
        response = self.app.get(f"/{path}", headers={"Cookie": sent} if sent else {})
        self.app.reset()
        for header in response.headers.getall("Set-Cookie"):
            self.cookie = "" if "Max-Age=0" in header else header.partition(";")[0]
        return response.text


@pytest.fixture(params=[flask_app, bottle_app, bare_app], ids=["flask", "bottle", "wsgi"])
def app(request, store):
    during = threading.Event(), threading.Event()

    def act(session, path):
        if path == "login":
            session.login("ann")
        elif path == "logout":
            session.logout()
        elif path == "write":
            session["n"] = session.get("n", 0) + 1
        elif path == "slow-write":
            len(session)
            during[0].set()
            assert during[1].wait(20)
            session["late"] = True
        return str(session.owner)

    app = request.param(store, act)
    app_during[id(app)] = during
    return app


app_during = {}


def cookie_name(app):
    return "session" if type(app).__name__ == "Flask" else "__Host-id"


def test_a_planted_id_is_never_adopted(app):
    planted = f"{cookie_name(app)}={SessionID.new().text}"
    victim, attacker = Client(app), Client(app)
    victim.cookie = planted
    assert victim.visit("login") == "ann"
    assert victim.cookie != planted
    assert attacker.visit("read", planted) == "None"
    planted = f"{cookie_name(app)}={SessionID.new().text}"
    victim = Client(app)
    victim.cookie = planted
    victim.visit("write")
    assert victim.cookie != planted


def test_an_attackers_own_session_is_not_logged_in_with_the_victim(app):
    attacker = Client(app)
    attacker.visit("write")
    planted = attacker.cookie
    victim = Client(app)
    victim.cookie = planted
    assert victim.visit("login") == "ann"
    assert victim.cookie != planted
    assert attacker.visit("read", planted) == "None"
    assert victim.visit("read") == "ann"


def test_an_id_after_the_logout_is_worth_nothing(app):
    client = Client(app)
    client.visit("login")
    stolen = client.cookie
    client.visit("logout")
    assert client.cookie == ""
    assert client.visit("read", stolen) == "None"


@pytest.mark.parametrize("end", ["login", "logout"])
def test_a_request_in_flight_does_not_bring_an_old_id_back(app, end):
    client = Client(app)
    client.visit("login" if end == "logout" else "write")
    old = client.cookie
    has_begun, may_end = app_during[id(app)]
    slow = Client(app)
    slow.cookie = old

    def write_slowly():
        with suppress(Exception):  # the 400 of a session that is gone
            slow.visit("slow-write")

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert has_begun.wait(20)
    client.visit(end)
    may_end.set()
    thread.join(20)
    assert client.visit("read", old) == "None"
    assert slow.cookie in (old, "")


@pytest.fixture(params=["memory", "sqlite", "redis", "redis_cluster", "postgres", "mysql", "mongodb"])
def any_store(request, tmp_path):
    kind = request.param
    if kind in ("memory", "sqlite"):
        store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "sessions.db")
    else:
        store = request.getfixturevalue("open_fresh")(kind, request.getfixturevalue("server_url")(kind))
    yield store
    store.close()


ENDS = {
    "cycle_id": lambda manager, session: session.cycle_id(),
    "flush": lambda manager, session: session.flush(),
    "login of another": lambda manager, session: session.login("eve"),
    "logout": lambda manager, session: session.logout(),
    "revoke_all": lambda manager, session: manager.revoke_all(session.owner),
    "revoke_others": lambda manager, session: other_of(manager, session.owner).revoke_others(),
    "revoke": lambda manager, session: [manager.revoke(each.handle) for each in manager.sessions(session.owner)],
}


def other_of(manager, owner):
    other = manager.open()
    other.login(owner)
    other.save()
    return other


@pytest.mark.parametrize("end", ENDS)
def test_no_old_id_works(any_store, end):
    manager = SessionManager(any_store)
    session = manager.open()
    session["n"] = 1
    session.login(f"ann-{secrets.token_hex(4)}")
    session.save()
    old = session.id
    in_flight = manager.open(old)
    assert in_flight["n"] == 1

    ENDS[end](manager, session)
    session.save()
    assert manager.open(old).is_new
    in_flight["n"] = 2
    with pytest.raises(SessionInterrupted):
        in_flight.save()
    blind = manager.open(old)
    blind["n"] = 3
    with pytest.raises(SessionInterrupted):
        blind.save()
    assert manager.open(old).is_new
