"""Flask-SocketIO: what an event of its handlers sees of the visitor's session, and what becomes of its changes.

With a real server and a real client, over a websocket and by long polling.
"""

import gc
from contextlib import contextmanager

import pytest
import requests
from flask import Flask, session
from flask_socketio import ConnectionRefusedError as Refused
from flask_socketio import SocketIO, disconnect
from serving import serving
from socketio import Client
from socketio.exceptions import ConnectionError as NotConnected

from wsgisessions import MemoryStore, StoreUnavailable
from wsgisessions.flask import Sessions

pytestmark = pytest.mark.usefixtures("log")


class FailingStore(MemoryStore):
    """A memory store whose updates fail when told so."""

    fails = False

    def update(self, id_hash, patch):
        if self.fails:
            raise StoreUnavailable("the store is down")
        return super().update(id_hash, patch)


class Site:
    """A Flask app with events, and one visitor of it."""

    def __init__(self, order, store=None, *, manage_session):
        self.app = Flask(__name__)
        self.store = FailingStore() if store is None else store
        self.connected_with = []
        self.errors = []
        if order == "SocketIO first":
            self.make_socketio(manage_session)
        Sessions(self.app, self.store)
        if order == "Sessions first":
            self.make_socketio(manage_session)
        self.add_pages()
        self.add_events()
        self.visitor = requests.Session()
        self.port = None

    def make_socketio(self, manage_session):
        options = {} if manage_session is None else {"manage_session": manage_session}
        # Pings also end a poll that waits for nothing.
        self.socketio = SocketIO(self.app, async_mode="threading", ping_interval=0.2, **options)

    def add_pages(self):
        app = self.app

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

        @app.get("/logout")
        def log_out():
            session.logout()
            return "logged out"

    def add_events(self):
        on = self.socketio.on

        @on("connect")
        def connect(auth=None):
            self.connected_with.append(dict(session))
            if auth == "refuse me":
                session["refused"] = True
                raise Refused("not today")

        @on("disconnect")
        def disconnected(*reason):
            session["left"] = True

        # A client that closes its websocket itself waits 3 seconds for the answer.
        on("leave")(disconnect)

        @on("read")
        def read():
            return dict(session)

        @on("write")
        def write(key, value):
            session[key] = value
            return "written"

        @on("write_and_fail")
        def write_and_fail(key, value):
            session[key] = value
            raise ZeroDivisionError

        @on("append")
        def append(value):
            session["items"].append(value)
            return "appended"

        @on("act")
        def act(name):
            result = getattr(session, name)(*(["ann"] if name == "login" else []))
            return str(result)

        @on("write_and_save")
        def write_and_save(key, value):
            session[key] = value
            session.save()
            return "saved"

        @self.socketio.on_error_default
        def tell(error):
            self.errors.append(error)
            return f"{type(error).__name__}: {error}"

    def get(self, path="/"):
        answer = self.visitor.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)
        answer.raise_for_status()
        return answer.json() if path == "/" else answer.text

    @contextmanager
    def connected(self, transport="websocket", **options):
        """Yield a function that sends an event and returns the answer."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.visitor.cookies)
        client = Client(reconnection=False)
        headers = {"Cookie": cookies} if cookies else {}
        client.connect(f"http://127.0.0.1:{self.port}", headers=headers, transports=[transport], **options)
        try:
            yield lambda event, *values: client.call(event, values or None, timeout=10)
        finally:
            connection = client.eio.read_loop_task
            client.emit("leave")
            connection.join(20)  # as wait() does, without the second for reconnecting, and not for ever
            assert not connection.is_alive()


@pytest.fixture(params=["SocketIO first", "Sessions first"])
def order(request):
    return request.param


@pytest.fixture(params=["websocket", "polling"])
def transport(request):
    return request.param


@contextmanager
def serving_site(order, **options):
    site = Site(order, **options)
    with serving(site.app) as site.port:
        yield site


@pytest.fixture
def site(order):
    """Yield a site whose events share the session with its pages."""
    with serving_site(order, manage_session=False) as site:
        yield site


# --- one session for events and pages


def test_an_event_sees_the_visitors_session(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        assert call("read") == {"n": 1}
    assert site.connected_with == [{"n": 1}]


def test_each_event_sees_what_requests_have_written_meanwhile(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        assert call("read") == {"n": 1}
        site.get("/set/n/2")
        assert call("read") == {"n": 2}


def test_what_an_event_writes_is_there_for_requests_and_later_events(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        assert call("write", "m", 2) == "written"
        assert site.get() == {"n": 1, "m": 2}
        assert call("read") == {"n": 1, "m": 2}
    assert site.get().items() >= {"n": 1, "m": 2}.items()


def test_a_change_inside_a_value_is_found_in_an_event(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        call("write", "items", [1])
        call("append", 2)
        assert site.get()["items"] == [1, 2]


def test_events_and_requests_that_write_different_keys_lose_nothing(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        for number in range(5):
            call("write", f"event{number}", number)
            site.get(f"/set/page{number}/{number}")
        assert len(site.get()) == 11


def test_an_event_that_only_reads_writes_nothing(order, make_recording_store):
    recording = make_recording_store()
    site = Site(order, recording, manage_session=False)
    client = site.app.test_client()
    client.get("/set/n/1")
    events = site.socketio.test_client(site.app, flask_test_client=client)
    recording.taken()
    assert events.emit("read", callback=True) == {"n": 1}
    assert recording.taken() == ["load"]


def test_leaving_is_an_event_as_well(site, transport):
    site.get("/set/n/1")
    with site.connected(transport):
        pass
    for _ in range(50):
        if "left" in site.get():
            break
        site.socketio.sleep(0.1)
    assert site.get() == {"n": 1, "left": True}


def test_an_event_may_commit_by_itself(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        assert call("write_and_save", "m", 2) == "saved"
        assert site.get() == {"n": 1, "m": 2}


@pytest.mark.parametrize("method", ["logout", "flush", "clear"])
def test_an_event_may_end_the_session(site, transport, method):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        call("act", method)
        assert site.get() == {}
        assert call("read") == {}


def test_a_logout_by_a_request_ends_what_events_see(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        site.get("/logout")
        assert call("read") == {}
        assert "SessionError" in call("write", "m", 2)


# --- what needs a cookie


def test_an_event_starts_no_session_whose_cookie_nobody_would_get(site, transport):
    with site.connected(transport) as call:
        assert call("read") == {}
        assert call("write", "n", 1).startswith("SessionError: starting a new session needs a response header")
        assert call("read") == {}
    assert site.get() == {}
    assert not site.visitor.cookies


@pytest.mark.parametrize("method", ["login", "cycle_id"])
def test_an_event_changes_no_session_id(site, transport, method):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        assert call("act", method).startswith(f"SessionError: session.{method}() needs a response header")
        assert call("write", "m", 2) == "written"
    assert site.get().items() >= {"n": 1, "m": 2}.items()


def test_an_event_under_an_id_that_a_login_has_changed_writes_nothing(site, transport):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        site.get("/login")
        assert call("write", "m", 2).startswith(("SessionError", "SessionInterrupted"))
        assert site.get() == {"n": 1}


# --- what fails


def test_an_event_that_fails_saves_nothing_and_the_log_names_what(site, transport, log):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        call("write_and_fail", "progress", 2)
        site.errors.clear()
        gc.collect()
        assert site.get() == {"n": 1}
        assert call("read") == {"n": 1}
    told = " ".join(log())
    assert "progress" in told


def test_a_connection_that_is_refused_saves_nothing(site, transport):
    site.get("/set/n/1")
    with pytest.raises(NotConnected):
        with site.connected(transport, auth="refuse me"):
            """Never gets here."""
    assert "refused" not in site.get()


def test_a_commit_that_fails_is_an_error_of_the_event(order):
    site = Site(order, manage_session=False)
    client = site.app.test_client()
    client.get("/set/n/1")
    events = site.socketio.test_client(site.app, flask_test_client=client)
    site.store.fails = True
    with pytest.raises(StoreUnavailable):
        events.emit("write", "m", 2)
    site.store.fails = False
    assert client.get("/").json == {"n": 1}


# --- Flask-SocketIO's own test client


def test_its_test_client_shares_the_session_of_flasks(order):
    site = Site(order, manage_session=False)
    client = site.app.test_client()
    client.get("/set/n/1")
    events = site.socketio.test_client(site.app, flask_test_client=client)
    assert events.emit("read", callback=True) == {"n": 1}
    assert events.emit("write", "m", 2, callback=True) == "written"
    assert client.get("/").json == {"n": 1, "m": 2}
    assert events.emit("write", "m", 3, callback=True) == "written"
    assert client.get("/").json == {"n": 1, "m": 3}


def test_its_test_client_starts_no_session(order):
    site = Site(order, manage_session=False)
    events = site.socketio.test_client(site.app, flask_test_client=site.app.test_client())
    assert events.emit("write", "n", 1, callback=True).startswith("SessionError: starting a new session")


# --- pages beside events


def test_pages_work_as_without_flask_socketio(site):
    assert site.get() == {}
    site.get("/set/n/1")
    site.get("/login")
    assert site.get() == {"n": 1}
    site.get("/logout")
    assert site.get() == {}


def test_a_test_of_the_app_may_change_the_session(site):
    client = site.app.test_client()
    with client.session_transaction() as stored:
        stored["n"] = 1
    assert client.get("/").json == {"n": 1}


# --- a copy for the events, Flask-SocketIO's default


@pytest.mark.parametrize("manage_session", [True, None])
def test_the_copy_that_flask_socketio_keeps_for_its_events_never_reaches_the_store_and_the_log_says_so(
    order, transport, log, manage_session
):
    with serving_site(order, manage_session=manage_session) as site:
        site.get("/set/n/1")
        with site.connected(transport) as call:
            assert call("write", "m", 2) == "written"
            assert call("read") == {"n": 1, "m": 2}
            assert site.get() == {"n": 1}
    told = [line for line in log() if "manage_session=False" in line]
    assert len(told) == 1


def test_a_copy_for_the_events_refuses_logins(order, transport):
    with serving_site(order, manage_session=True) as site:
        site.get("/set/n/1")
        with site.connected(transport) as call:
            assert call("act", "login").startswith("AttributeError")
        assert site.get() == {"n": 1}


def test_shared_sessions_need_no_warning(site, transport, log):
    site.get("/set/n/1")
    with site.connected(transport) as call:
        call("write", "m", 2)
    gc.collect()
    assert log() == []
