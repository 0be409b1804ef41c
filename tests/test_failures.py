"""A store that fails: what the app sees, what the visitor sees, and what the log says."""

import logging
import traceback
from datetime import timedelta
from enum import Enum

import pytest

from wsgisessions import (
    Cookie,
    DecodeError,
    EncodeError,
    OnInactivity,
    SessionConflict,
    SessionInterrupted,
    SessionManager,
    StoreError,
    StoreUnavailable,
    get_session,
)
from wsgisessions.session_ids import SessionID

SECRET = "the-visitors-secret"


class Level(Enum):
    HIGH = "high"


@pytest.fixture
def failing(make_browser, make_recording_store):
    """Return a browser with a session on a store that fails at the commands in its `fails`."""

    class Failing(make_recording_store):
        def __init__(self):
            super().__init__()
            self.fails = {}

        def _fail(self, command):
            if command in self.fails:
                raise self.fails[command] from OSError("connection refused")

        def create(self, id_hash, record):
            self._fail("create")
            return super().create(id_hash, record)

        def load(self, id_hash):
            self._fail("load")
            return super().load(id_hash)

        def update(self, id_hash, patch):
            self._fail("update")
            return super().update(id_hash, patch)

        def delete(self, id_hash, *, if_empty=False):
            self._fail("delete")
            return super().delete(id_hash, if_empty=if_empty)

    browser = make_browser(Failing())
    browser.get(lambda session: session.update(n=SECRET))
    return browser


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (StoreUnavailable("down"), "503 Service Unavailable", "5"),
        (StoreError("bad"), "500 Internal Server Error", None),
    ],
)
def test_a_failed_commit_replaces_the_response(failing, caplog, error, status, retry):
    failing.store.fails = {"update": error}
    cookie = failing.cookie
    response = failing.get(lambda session: session.update(n=SECRET + "2"), headers=[("Set-Cookie", "app=1")])
    assert response.status == status
    assert response.headers.get("Retry-After") == retry
    assert "Set-Cookie" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert b"body" not in response.body
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wsgisessions", logging.ERROR)
    assert "connection refused" in caplog.text
    for secret in (SECRET, cookie.partition("=")[2]):
        assert secret not in caplog.text
        assert secret not in response.text
    failing.store.fails = {}
    assert failing.get(dict).result == {"n": SECRET}


def test_a_failed_load_raises_in_the_line_that_looked(failing):
    failing.store.fails = {"load": StoreUnavailable("down")}

    def view(session):
        with pytest.raises(StoreUnavailable):
            session.get("n")
        return "served without"

    assert failing.get(view).result == "served without"


def test_a_failed_load_that_the_app_lets_pass_is_a_503(failing, caplog):
    failing.store.fails = {"load": StoreUnavailable("down")}
    assert failing.get(dict).status == "503 Service Unavailable"


def test_an_untouched_session_does_not_notice_that_the_store_is_down(failing):
    failing.store.fails = {"load": StoreUnavailable("down"), "create": StoreUnavailable("down")}
    assert failing.get().status == "200 OK"


def test_a_failed_commit_of_a_stream_replaces_it(failing, caplog):
    failing.store.fails = {"update": StoreUnavailable("down")}

    def app(environ, start_response):
        get_session(environ)["n"] = 2
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        yield b"two"

    response = failing.run(app)
    assert response.status == "503 Service Unavailable"
    assert b"one" not in response.body


def test_a_failed_commit_at_write_replaces_it(failing, caplog):
    failing.store.fails = {"update": StoreUnavailable("down")}

    def app(environ, start_response):
        get_session(environ)["n"] = 2
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one")
        write(b"two")
        return [b"three"]

    response = failing.run(app)
    assert response.status == "503 Service Unavailable"
    assert b"one" not in response.body
    assert b"three" not in response.body


def test_a_failed_commit_answers_head_without_a_body(failing, caplog):
    failing.store.fails = {"update": StoreUnavailable("down")}
    response = failing.get(lambda session: session.update(n=2), method="HEAD")
    assert response.status == "503 Service Unavailable"
    assert response.body == b""


def test_a_failed_late_commit_is_logged(failing, caplog):
    def app(environ, start_response):
        session = get_session(environ)
        session["n"] = 2
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        session["n"] = 3
        failing.store.fails = {"update": StoreUnavailable("down")}
        yield b"two"

    assert failing.run(app).body == b"onetwo"
    assert "could not be saved" in caplog.text


def test_a_failed_logout_is_no_200(failing, caplog):
    failing.store.fails = {"delete": StoreUnavailable("down")}
    response = failing.get(lambda session: session.logout())
    assert response.status == "503 Service Unavailable"


def test_a_failed_logout_of_a_request_that_raised_is_logged(failing, caplog):
    failing.store.fails = {"delete": StoreUnavailable("down")}

    def view(session):
        session.logout()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing.get(view)
    assert "could not be deleted" in caplog.text


def test_a_write_after_a_read_whose_session_went_away_is_a_400(browser, caplog):
    browser.get(lambda session: session.update(n=1))
    cookie = browser.cookie

    def view(session):
        n = session["n"]
        other = SessionManager(browser.store).open(session.id)
        other.flush()
        other.save()
        session["n"] = n + 1

    assert browser.get(view).status == "400 Bad Request"
    assert browser.get(dict, cookie=cookie).result == {}


@pytest.mark.parametrize("fact", ["id", "owner", "is_new", "created_at", "expires_at", "expires_in"])
def test_what_the_store_knows_of_a_session_is_read_too(browser, fact):
    browser.get(lambda session: (session.login("ann"), session.update(n=1)))
    manager = browser.middleware.manager

    def view(session):
        getattr(session, fact)
        manager.revoke_all("ann")
        session["private"] = 1

    assert browser.get(view).status == "400 Bad Request"


def test_a_login_is_no_read(browser):
    browser.get(lambda session: session.login("ann"))
    manager = browser.middleware.manager

    def view(session):
        session.login("ann")
        manager.revoke_all("ann")

    assert browser.get(view).status == "200 OK"
    assert browser.get(lambda session: session.owner).result == "ann"


def log_out_before_the_update(store):
    update = store.update

    def logged_out_meanwhile(id_hash, patch):
        store.delete(id_hash)
        return update(id_hash, patch)

    store.update = logged_out_meanwhile


def test_a_write_without_a_read_whose_session_went_away_starts_another(browser):
    browser.get(lambda session: session.update(n=1, m=1))
    old = browser.cookie
    log_out_before_the_update(browser.store)
    browser.get(lambda session: session.update(n=2))
    del browser.store.update
    assert browser.cookie not in ("", old)
    assert browser.get(dict).result == {"n": 2}
    assert browser.get(dict, cookie=old).result == {}


def test_an_id_that_was_changed_before_the_failure_reaches_the_client(browser):
    browser.get(lambda session: session.update(cart="full"))
    before = browser.cookie
    store = browser.store

    def view(session):
        session.login("ann")
        session.save()
        store.acquire(SessionID(session.id).id_hash, "another's", timedelta(seconds=30))
        with session.lock(timeout=0):
            session["n"] = 1

    response = browser.get(view)
    assert response.status == "503 Service Unavailable"
    assert response.headers["Vary"] == "Cookie"
    assert browser.cookie not in ("", before)
    assert browser.get(lambda session: (session.owner, session["cart"])).result == ("ann", "full")


def test_a_session_that_is_gone_leaves_no_expiry_to_the_next(browser):
    browser.get(lambda session: (setattr(session, "expiry", OnInactivity(timedelta(days=365))), session.update(n=1)))
    log_out_before_the_update(browser.store)
    response = browser.get(lambda session: session.update(n=2))
    assert "Max-Age" not in response.headers["Set-Cookie"]


@pytest.mark.parametrize("type", [int, Level])
def test_a_stored_value_is_in_no_traceback(browser, type):
    browser.get(lambda session: session.update(level="s3cret"))

    def view(session):
        with pytest.raises(DecodeError) as caught:
            session.get("level", type=type)
        return "".join(traceback.format_exception(caught.value))

    assert "s3cret" not in browser.get(view).result


def test_a_value_that_turned_bad_saves_nothing(browser, caplog):
    browser.get(lambda session: session.update(items=[], n=1))

    def view(session):
        session["items"].append(object())
        session["n"] = 2

    response = browser.get(view)
    assert response.status == "500 Internal Server Error"
    assert "'items'" in caplog.text
    assert browser.get(dict).result == {"items": [], "n": 1}


def test_a_session_that_is_too_large_is_not_written(make_browser, caplog):
    browser = make_browser(max_bytes=100)
    browser.get(lambda session: session.update(n="small"))
    response = browser.get(lambda session: session.update(n="x" * 100))
    assert response.status == "413 Content Too Large"
    assert "max_bytes is 100" in caplog.text
    assert browser.get(dict).result == {"n": "small"}


@pytest.mark.parametrize(
    ("error", "status"),
    [(SessionConflict("x"), 409), (SessionInterrupted("x"), 400), (StoreUnavailable("x"), 503)],
)
def test_errors_that_the_app_lets_pass_have_their_status(browser, caplog, error, status):
    def view(session):
        raise error

    assert browser.get(view).status_int == status


def test_other_errors_pass_through_to_the_server(browser):
    with pytest.raises(EncodeError):
        browser.get(lambda session: session.update(n=object()))


def turn_bad(session):
    session["items"] = items = []
    items.append(object())


@pytest.mark.parametrize("then", [turn_bad, lambda session: session.login("bob")])
@pytest.mark.parametrize("end", [lambda session: session.logout(), lambda session: session.login("bob")])
def test_what_was_flushed_is_deleted_although_the_commit_fails(browser, monkeypatch, caplog, end, then):
    browser.get(lambda session: (session.login("ann"), session.update(n=1)))
    old = browser.cookie
    monkeypatch.setattr(browser.store, "create", full)

    def view(session):
        end(session)
        then(session)

    response = browser.get(view)
    assert response.status_int in (500, 503)
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert browser.get(lambda session: session.owner, cookie=old).result is None


def full(id_hash, record):
    raise StoreUnavailable("the store is full")


def test_a_session_that_would_be_too_large_does_not_end_the_cleared_one(make_browser, caplog):
    browser = make_browser(max_bytes=100)
    browser.get(lambda session: session.update(n="small"))

    def view(session):
        session.clear()
        session["n"] = "x" * 100

    assert browser.get(view).status_int == 413
    assert browser.get(dict).result == {"n": "small"}


def fail_in_a_lock(session):
    def fail():
        with session.lock():
            session.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


@pytest.mark.parametrize(
    ("act", "status"),
    [(lambda session: session.clear(), "500 Internal Server Error"), (fail_in_a_lock, "200 OK")],
)
def test_an_id_that_was_changed_before_an_undone_clear_reaches_the_client(browser, act, status):
    browser.get(lambda session: session.update(cart="full"))
    before = browser.cookie

    def view(session):
        session.login("ann")
        session.save()
        act(session)

    browser.get(view, status=status)
    assert browser.cookie not in ("", before)
    assert browser.get(lambda session: (session.owner, dict(session))).result == ("ann", {"cart": "full"})


def test_an_undone_clear_restores_the_session_that_it_ended_not_an_earlier_state(browser):
    def view(session):
        session.clear()  # the first line of a login written the tutorial's way, of a visitor without a cookie
        session["user_id"] = 7
        session.save()
        session.clear()

    browser.get(view, status="500 Internal Server Error")
    assert browser.get(dict).result == {"user_id": 7}


def test_an_id_that_was_changed_before_a_clear_whose_commit_fails_reaches_the_client(make_browser, caplog):
    browser = make_browser(max_bytes=100)

    def view(session):
        session["n"] = "small"
        session.save()
        session.clear()
        session["n"] = "x" * 100

    assert browser.get(view).status_int == 413
    assert browser.get(dict).result == {"n": "small"}


@pytest.fixture
def idle(make_browser, failing, clock):
    """Return a browser whose session is due for a touch, on a store whose updates fail."""
    browser = make_browser(type(failing.store)(), expiry=OnInactivity(timedelta(hours=1)), clock=clock)
    browser.get(lambda session: session.update(n=1))
    clock.advance(timedelta(minutes=30))
    browser.store.taken()
    browser.store.fails = {"update": StoreUnavailable("read-only replica")}
    return browser


def test_a_touch_that_fails_replaces_no_page(idle, caplog):
    response = idle.get(dict)
    assert (response.status_int, response.result) == (200, {"n": 1})
    assert "Set-Cookie" not in response.headers
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wsgisessions", logging.WARNING)
    assert "read-only replica" in record.getMessage()


def test_a_touch_that_fails_is_made_by_a_later_request(idle):
    idle.get(dict)
    idle.store.fails = {}
    assert "Max-Age=3600" in idle.get(dict).headers["Set-Cookie"]


def test_a_touch_that_fails_does_not_stop_save(idle):
    assert idle.get(lambda session: (session["n"], session.save())).status_int == 200


class Explosion(Exception):
    """What a part that the app brings raises."""


def explode(*arguments, **options):
    raise Explosion("bang")


class BadTransport(Cookie):
    """A transport that cannot write its headers."""

    issue = explode
    withdraw = explode


class BadWarning(Cookie):
    warnings = explode


@pytest.mark.parametrize("transport", [BadTransport, BadWarning])
def test_a_transport_that_raises_leaves_the_visitor_an_answer(make_browser, caplog, transport):
    browser = make_browser(transport=transport())
    response = browser.get(lambda session: session.update(n=1))
    assert response.status_int == 500
    assert b"body" not in response.body
    assert "Explosion: bang" in caplog.text


@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_a_transport_that_cannot_remove_the_id_leaves_the_visitor_signed_out(make_browser, caplog, status):
    browser = make_browser()
    browser.get(lambda session: session.login("ann"))
    browser.middleware.transport.withdraw = explode
    response = browser.get(lambda session: session.logout(), status=status)
    assert response.status_int == 500
    assert "Explosion: bang" in caplog.text
    assert browser.middleware.manager.sessions("ann") == []


def test_a_transport_that_cannot_read_raises_in_the_line_that_looks(make_browser):
    browser = make_browser()
    browser.middleware.transport.read = explode

    def view(session):
        with pytest.raises(Explosion):
            session.get("n")

    assert browser.get(view).status_int == 200


def test_a_merge_rule_that_raises_is_a_500_and_writes_nothing(make_browser, caplog):
    browser = make_browser(merges={"n": explode})
    browser.get(lambda session: session.update(n=1))

    def view(session):
        other = browser.middleware.manager.open(session.id)
        other["n"] = 2
        other.save()
        session["n"] = session["n"] + 10

    def interleaved(session):
        session["n"]
        view(session)

    response = browser.get(interleaved)
    assert response.status_int == 500
    assert "Explosion: bang" in caplog.text
    assert browser.get(dict).result == {"n": 2}


def test_a_clock_that_raises_is_a_500(make_browser, caplog, clock):
    times = [clock]
    browser = make_browser(clock=lambda: times[0]())
    times[0] = explode
    assert browser.get(lambda session: session.update(n=1)).status_int == 500
    assert "Explosion: bang" in caplog.text


class Body:
    """An iterable that counts how often it was closed, and may fail to."""

    def __init__(self, *, fails):
        self.fails = fails
        self.closed = 0

    def __iter__(self):
        yield b"one"

    def close(self):
        self.closed += 1
        if self.fails:
            raise Explosion("bang in close()")


@pytest.mark.parametrize("fails_to_close", [False, True])
@pytest.mark.parametrize("is_file", [False, True])
def test_a_body_that_is_replaced_is_closed_once(failing, caplog, fails_to_close, is_file):
    failing.store.fails = {"update": StoreUnavailable("down")}
    body = Body(fails=fails_to_close)
    start = []

    def app(environ, start_response):
        get_session(environ)["n"] = 2
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    failing.view = app
    environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": failing.cookie, "wsgi.url_scheme": "https"}
    if is_file:
        environ["wsgi.file_wrapper"] = Body
    chunks = failing.middleware(environ, lambda status, headers, exc_info=None: start.append(status))
    assert b"one" not in b"".join(chunks)
    if hasattr(chunks, "close"):
        if fails_to_close and not is_file:
            with pytest.raises(Explosion):  # as without the middleware, once the answer is out
                chunks.close()
        else:
            chunks.close()
    assert body.closed == 1
    assert start == ["503 Service Unavailable"]
    if fails_to_close and is_file:
        assert "bang in close()" in caplog.text


@pytest.mark.parametrize("as_list", [True, False])
def test_an_app_that_never_calls_start_response_saves_nothing_but_logs_out(failing, as_list):
    failing.get(lambda session: session.login("ann"))

    def app(environ, start_response):
        get_session(environ).logout()
        return [b"one"] if as_list else iter([b"one"])

    failing.view = app
    environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": failing.cookie, "wsgi.url_scheme": "https"}

    def serve():
        body = failing.middleware(environ, lambda status, headers, exc_info=None: None)
        try:
            list(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    with pytest.raises(AssertionError, match="before it called start_response"):
        serve()
    assert failing.middleware.manager.sessions("ann") == []


def test_a_server_that_refuses_the_headers_gets_no_second_answer(failing):
    started = []

    def refuse(status, headers, exc_info=None):
        started.append(status)
        raise Explosion("bad header")

    failing.view = lambda environ, start_response: start_response("200 OK", []) and [b""]
    with pytest.raises(Explosion):
        failing.middleware({"REQUEST_METHOD": "GET"}, refuse)
    assert started == ["200 OK"]


def test_a_file_that_no_server_gets_is_closed(failing):
    body = Body(fails=False)

    def refuse(status, headers, exc_info=None):
        raise Explosion("bad header")

    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    failing.view = app
    with pytest.raises(Explosion):
        failing.middleware({"REQUEST_METHOD": "GET", "wsgi.file_wrapper": Body}, refuse)
    assert body.closed == 1
