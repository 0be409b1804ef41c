"""flask-sock and simple-websocket: the session of a websocket's route, which runs as long as the connection."""

import logging
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
import requests
from flask import Flask, session
from flask import request as flask_request
from flask_sock import Sock
from servers import free_port
from serving import serving
from simple_websocket import Client, ConnectionClosed, Server

from wsgisessions import SQLiteStore
from wsgisessions.flask import Sessions


def make_app(store):
    """Return an app with websockets; a message is what to do, and each is answered."""
    app = Flask(__name__)
    Sessions(app, store)
    sock = Sock(app)

    @app.get("/")
    def show():
        return dict(session)

    @app.get("/set/<key>/<int:value>")
    def put(key, value):
        session[key] = value
        return "set"

    @app.get("/login")
    def log_in():
        session.login("ann")
        return "logged in"

    @app.errorhandler(404)
    def show_missing(error):
        return f"no such page, visitor {session.get('n')}", 404

    def serve(ws):
        while True:
            name, *values = ws.receive().split()
            try:
                ws.send(str(act(name, *values)))
            except ZeroDivisionError:
                raise
            except Exception as error:
                ws.send(f"{type(error).__name__}: {error}")

    def act(name, *values):
        if name == "read":
            return session.get(values[0])
        if name == "write":
            session[values[0]] = int(values[1])
        elif name == "fail":
            raise ZeroDivisionError
        else:
            getattr(session, name)(*values)
        return "done"

    sock.route("/ws")(serve)

    @app.route("/simple", websocket=True)
    def simple():
        ws = Server.accept(flask_request.environ)
        with suppress(ConnectionClosed):
            serve(ws)
        return ""

    return app


class Site:
    """The app on a port, and one visitor of it."""

    def __init__(self, port):
        self.port = port
        self.visitor = requests.Session()

    def get(self, path="/"):
        answer = self.visitor.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)
        answer.raise_for_status()
        return answer.json() if path == "/" else answer.text

    @contextmanager
    def connected(self, path):
        """Yield a function that sends a message and returns the answer."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.visitor.cookies)
        headers = {"Cookie": cookies} if cookies else {}
        client = Client.connect(f"ws://127.0.0.1:{self.port}{path}", headers=headers)

        def send(message):
            client.send(message)
            return client.receive(timeout=10)

        try:
            yield send
        finally:
            with suppress(ConnectionClosed):
                client.close()

    def wait_for(self, values):
        """Wait until the session is so: a route ends a little after its client has gone."""
        give_up_at = time.monotonic() + 10
        while self.get() != values:
            assert time.monotonic() < give_up_at, self.get()
            time.sleep(0.05)


@contextmanager
def on_werkzeug(folder):
    store = SQLiteStore(folder / "sessions.db")
    with serving(make_app(store)) as port:
        yield port
    store.close()


@contextmanager
def on_gunicorn(folder):
    port = free_port()
    (folder / "served.py").write_text(
        "from pathlib import Path\nfrom test_sock import make_app\nfrom wsgisessions import SQLiteStore\n"
        "app = make_app(SQLiteStore(Path(__file__).with_name('sessions.db')))\n"
    )
    paths = [os.path.dirname(__file__), *sys.path, str(folder)]  # noqa: PTH120
    command = [sys.executable, "-m", "gunicorn", "--threads", "8", "--bind", f"127.0.0.1:{port}", "served:app"]
    with (folder / "log").open("w") as log:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        server = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + 30
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up_at, (folder / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module", params=[on_werkzeug, on_gunicorn], ids=["werkzeug", "gunicorn"])
def port(request, tmp_path_factory):
    with request.param(tmp_path_factory.mktemp("site")) as port:
        yield port


@pytest.fixture
def site(port):
    """Return the site with a visitor who is new to it."""
    return Site(port)


@pytest.fixture(params=["/ws", "/simple"], ids=["flask_sock", "simple_websocket"])
def path(request):
    return request.param


def test_a_websocket_sees_the_visitors_session(site, path):
    site.get("/set/n/1")
    with site.connected(path) as send:
        assert send("read n") == "1"


def test_what_a_websocket_writes_is_saved_when_it_ends(site, path):
    site.get("/set/n/1")
    with site.connected(path) as send:
        assert send("write m 2") == "done"
    site.wait_for({"n": 1, "m": 2})


def test_what_requests_write_meanwhile_stays(site, path):
    site.get("/set/n/1")
    with site.connected(path) as send:
        assert send("write m 2") == "done"
        site.get("/set/o/3")
    site.wait_for({"n": 1, "m": 2, "o": 3})


def test_a_websocket_may_save_and_reload_while_it_is_open(site, path):
    site.get("/set/n/1")
    with site.connected(path) as send:
        send("write m 2")
        send("save")
        assert site.get() == {"n": 1, "m": 2}
        site.get("/set/n/3")
        assert send("read n") == "1"
        send("reload")
        assert send("read n") == "3"


def test_a_websocket_starts_no_session_whose_cookie_nobody_would_get(site, path):
    with site.connected(path) as send:
        assert send("read n") == "None"
        assert send("write n 1").startswith("SessionError: starting a new session needs a response header")
    assert site.get() == {}


@pytest.mark.parametrize("call", ["login ann", "cycle_id"])
def test_a_websocket_changes_no_session_id(site, path, call):
    site.get("/set/n/1")
    with site.connected(path) as send:
        assert send(call).startswith(f"SessionError: session.{call.split()[0]}() needs a response header")
        assert send("write m 2") == "done"
    site.wait_for({"n": 1, "m": 2})


def test_a_websocket_may_log_out(site, path):
    site.get("/set/n/1")
    with site.connected(path) as send:
        assert send("logout") == "done"
    site.wait_for({})


def test_a_websocket_that_fails_saves_nothing_and_the_log_names_what(tmp_path, path, caplog):
    caplog.set_level(logging.INFO, "wsgisessions")

    def warnings():
        return " ".join(record.getMessage() for record in caplog.records if record.name == "wsgisessions")

    with on_werkzeug(tmp_path) as port:
        site = Site(port)
        site.get("/set/n/1")
        with site.connected(path) as send:
            send("write progress 2")
            with pytest.raises(ConnectionClosed):
                send("fail")
        give_up_at = time.monotonic() + 3
        while "progress" not in warnings():
            assert time.monotonic() < give_up_at, caplog.text
            time.sleep(0.05)
        assert site.get() == {"n": 1}


def test_an_error_page_for_a_websocket_varies_by_the_cookie_that_it_read(port):
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    answer = requests.get(f"http://127.0.0.1:{port}/nowhere", headers=headers, timeout=10)
    assert answer.status_code == 404
    assert answer.headers["Vary"] == "Cookie"
