"""What is not saved is an error, or a line in the log: never silence."""

import gc
import logging
import logging.handlers
import queue
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from wsgisessions import (
    EncodeError,
    JSONCodec,
    SessionError,
    SessionInterrupted,
    SessionManager,
    StoreUnavailable,
    get_session,
)

OK = ("200 OK", [("Content-Type", "text/plain")])


@pytest.fixture
def told(log, caplog):
    """Return a function that gives what the log was told since the last call."""

    def told():
        log()
        warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        caplog.clear()
        return warnings

    return told


@pytest.fixture
def visitor(browser):
    """Return a browser that has a session."""
    browser.get(lambda session: session.update(n=1, items=[]))
    return browser


def fails(session):
    session["password"] = "a secret value"
    session["items"].append("a secret value")
    del session["n"]


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
def test_what_a_5xx_drops_is_named_once_with_what_to_do(visitor, told, status):
    visitor.get(fails, status=status)
    (warning,) = told()
    assert "'items', 'n', 'password'" in warning
    assert "session.save()" in warning
    assert "a secret value" not in warning
    assert visitor.get(dict).result == {"n": 1, "items": []}


def test_what_an_exception_drops_is_named_once(visitor, told):
    def view(session):
        fails(session)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        visitor.get(view)
    (warning,) = told()
    assert "'items', 'n', 'password'" in warning


def test_what_a_stream_drops_is_named_once_also_if_it_goes_on(visitor, told):
    def app(environ, start_response):
        session = get_session(environ)
        session["first"] = 1
        start_response("500 Oops", OK[1])
        yield b"one"
        session["second"] = 2

    visitor.run(app)
    (warning,) = told()
    assert "'first'" in warning


@pytest.mark.parametrize(
    ("act", "named"),
    [
        (lambda session: session.login("ann"), "session.login()"),
        (lambda session: session.clear(), "session.clear()"),
        (lambda session: session.update({f"k{number:02}": 1 for number in range(30)}), "10 keys more"),
        (lambda session: session["items"].append(object()), "'items'"),
    ],
)
def test_a_dropped_login_and_much_else_is_named(visitor, told, act, named):
    visitor.get(act, status="500 Oops")
    (warning,) = told()
    assert named in warning
    assert "ann" not in warning


@pytest.mark.parametrize(
    "act",
    [
        lambda session: session["n"],
        lambda session: session.update(n=session["n"]),
        lambda session: session.logout(),
        lambda session: (session.update(n=2), session.save()),
        lambda session: setattr(session, "expiry", session.expiry),
        lambda session: session.cycle_id(),
    ],
)
def test_a_failure_that_drops_nothing_is_not_told(visitor, told, act):
    visitor.get(act, status="500 Oops")
    assert told() == []


def kept(browser):
    """Return the session object of a request that is over."""
    sessions = []
    browser.get(sessions.append)
    return sessions.pop()


def test_a_thread_that_outlives_its_request_saves(visitor, told):
    session = kept(visitor)
    session["late"] = True
    session.save()
    del session
    gc.collect()
    assert told() == []
    assert visitor.get(dict).result == {"n": 1, "items": [], "late": True}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda session: session.update(late="a secret"), "'late'"),
        (lambda session: session["items"].append("a secret"), "'items'"),
        (lambda session: session.pop("n"), "'n'"),
        (lambda session: session.flush(), "session.flush()"),
        (lambda session: session.clear(), "session.clear()"),
    ],
)
def test_what_is_changed_after_the_request_and_never_saved_is_told_once(visitor, told, change, named):
    session = kept(visitor)
    thread = threading.Thread(target=change, args=[session])
    thread.start()
    thread.join()
    session.get("n")
    assert told() == []
    del session, thread
    gc.collect()
    (warning,) = told()
    assert named in warning
    assert "session.save()" in warning
    assert "a secret" not in warning
    assert visitor.get(dict).result == {"n": 1, "items": []}


def test_a_look_after_the_request_is_not_told(visitor, told):
    session = kept(visitor)
    assert dict(session) == {"n": 1, "items": []}
    del session
    gc.collect()
    assert told() == []


def test_a_change_that_nobody_can_save_any_more_raises_in_its_line(browser):
    session = kept(browser)
    with pytest.raises(SessionError, match="headers have left"):
        session["late"] = True


def test_a_generator_that_writes_in_close_is_saved(visitor):
    class Body:
        def __init__(self, session):
            self.session = session

        def __iter__(self):
            yield b"one"

        def close(self):
            self.session["closed"] = True

    def app(environ, start_response):
        start_response(*OK)
        return Body(get_session(environ))

    visitor.run(app)
    assert visitor.get(dict).result == {"n": 1, "items": [], "closed": True}


def environ_of(visitor):
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "HTTP_COOKIE": visitor.cookie,
        "wsgi.url_scheme": "https",
        "HTTP_HOST": "example.org",
    }


@pytest.mark.parametrize("chunks_read", [0, 1])
def test_a_body_that_is_neither_read_nor_closed_says_what_is_lost(visitor, told, chunks_read):
    def app(environ, start_response):
        session = get_session(environ)
        start_response(*OK)
        session["before"] = True

        def body():
            yield b"one"
            session["late"] = True
            yield b"two"

        return body()

    visitor.view = app
    body = visitor.middleware(environ_of(visitor), lambda status, headers, exc_info=None: None)
    chunks = iter(body)
    for _ in range(2 * chunks_read):
        next(chunks)
    del body, chunks
    gc.collect()
    (warning,) = told()
    assert ("'late'" if chunks_read else "'before'") in warning
    assert "neither read to its end nor closed" in warning


def test_what_an_abandoned_body_changes_when_it_is_collected_is_told(visitor, told):
    def app(environ, start_response):
        session = get_session(environ)
        start_response(*OK)

        def body():
            try:
                yield b"one"
                yield b"two"
            finally:
                session["given_up"] = True

        return body()

    visitor.view = app
    next(visitor.middleware(environ_of(visitor), lambda status, headers, exc_info=None: None))
    gc.collect()
    (warning,) = told()
    assert "'given_up'" in warning


def test_a_logout_of_an_abandoned_body_is_told(visitor, told):
    def app(environ, start_response):
        get_session(environ).logout()
        start_response(*OK)
        return iter([b"one"])

    visitor.view = app
    visitor.middleware(environ_of(visitor), lambda status, headers, exc_info=None: None)
    gc.collect()
    (warning,) = told()
    assert "session.flush()" in warning


@pytest.mark.parametrize("fails", ["5xx", "exception"])
@pytest.mark.parametrize(
    ("change", "named"),
    [(lambda session: session.update(late=1), "'late'"), (lambda session: session.flush(), "session.flush()")],
)
def test_what_a_thread_changes_after_a_request_that_failed_is_told(visitor, told, fails, change, named):
    sessions = []

    def view(session):
        sessions.append(session)
        session["n"]
        if fails == "exception":
            raise ZeroDivisionError

    with suppress(ZeroDivisionError):
        visitor.get(view, status="500 Oops")
    assert told() == []
    change(sessions.pop())
    gc.collect()
    (warning,) = told()
    assert named in warning


def test_what_is_used_between_the_end_and_close_is_told_once(visitor, told):
    sessions = []

    class Body:
        def __init__(self, session):
            sessions.append(session)

        def __iter__(self):
            yield b"one"

        def close(self):
            sessions[0].get("n")

    def app(environ, start_response):
        start_response(*OK)
        return Body(get_session(environ))

    visitor.run(app)
    sessions.pop()["late"] = True
    gc.collect()
    assert len(told()) == 1


def test_a_late_commit_that_fails_is_told_once_with_the_names(visitor, told, monkeypatch):
    def fail(id_hash, patch):
        raise StoreUnavailable("down")

    def app(environ, start_response):
        session = get_session(environ)
        start_response(*OK)
        yield b"one"
        session["late"] = "a secret"
        monkeypatch.setattr(visitor.store, "update", fail)

    visitor.run(app)
    (error,) = told()
    assert "could not be saved: 'late'" in error


def test_a_commit_that_fails_names_what_is_lost(visitor, told, monkeypatch):
    def fail(id_hash, patch):
        raise StoreUnavailable("down")

    monkeypatch.setattr(visitor.store, "update", fail)
    visitor.get(lambda session: session.update(n=2))
    (error,) = told()
    assert "not saved: 'n'" in error


def test_what_a_middleware_around_changes_while_it_is_given_the_headers_is_saved(visitor):
    environ = environ_of(visitor)

    def start_response(status, headers, exc_info=None):
        get_session(environ)["status"] = status

    visitor.view = lambda environ, start_response: get_session(environ)["n"] and start_response(*OK) and [b""]
    visitor.middleware(environ, start_response)
    assert visitor.get(dict).result == {"n": 1, "items": [], "status": "200 OK"}


def test_a_session_that_a_middleware_around_starts_with_the_headers_is_refused(browser):
    environ = environ_of(browser)

    def start_response(status, headers, exc_info=None):
        with pytest.raises(SessionError, match="headers have left"):
            get_session(environ)["status"] = status

    browser.view = lambda environ, start_response: start_response(*OK) or [b""]
    browser.middleware(environ, start_response)


def test_a_job_that_never_saves_is_told(visitor, told):
    session = SessionManager(visitor.store).open(visitor.session_id)
    session["lost"] = 1
    del session
    gc.collect()
    (warning,) = told()
    assert "'lost'" in warning


def test_what_cannot_be_told_does_not_keep_a_logout_from_happening(make_browser, told):
    class Codec(JSONCodec):
        def encode(self, value):
            if value == ["bad"]:
                raise RuntimeError("a codec's bug")
            return super().encode(value)

    browser = make_browser(codec=Codec())
    browser.get(lambda session: (session.login("ann"), session.update(items=[])))

    def view(session):
        session.flush()
        session["items"] = items = []
        items.append("bad")

    browser.get(view, status="500 Oops")
    assert browser.middleware.manager.sessions("ann") == []
    (warning,) = told()
    assert "'items'" in warning


def test_a_log_handler_that_is_not_reentrant_does_not_hang(visitor, told):
    class Queue(queue.Queue):
        def _put(self, record):
            gc.collect()  # as the collector may run at any time
            super()._put(record)

    def app(environ, start_response):
        get_session(environ)["late"] = True
        start_response(*OK)
        environ["app.stream"] = iter([b"one"])
        return environ["app.stream"]

    handler = logging.handlers.QueueHandler(Queue())
    logger = logging.getLogger("wsgisessions")
    logger.addHandler(handler)
    try:
        visitor.view = app
        environ = environ_of(visitor)
        environ["kept"] = visitor.middleware(environ, lambda status, headers, exc_info=None: None)
        del environ
        thread = threading.Thread(target=logger.warning, args=["anything"], daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        gc.collect()
        assert any("'late'" in warning for warning in told())
    finally:
        logger.removeHandler(handler)


def test_a_body_that_is_read_to_its_end_and_not_closed_is_saved(visitor, told):
    def app(environ, start_response):
        session = get_session(environ)
        start_response(*OK)

        def body():
            yield b"one"
            session["late"] = True

        return body()

    visitor.view = app
    assert list(visitor.middleware(environ_of(visitor), lambda status, headers, exc_info=None: None)) == [b"one"]
    assert visitor.get(dict).result == {"n": 1, "items": [], "late": True}
    assert told() == []


def test_a_job_whose_session_is_gone_is_interrupted(browser):
    manager = SessionManager(browser.store)
    for session_id in ("A" * 32, "malformed"):
        session = manager.open(session_id)
        assert dict(session) == {}
        session["n"] = 1
        assert not session.is_modified
        with pytest.raises(SessionInterrupted):
            session.save()
        session = manager.open(session_id)
        session.login("ann")
        with pytest.raises(SessionInterrupted):
            manager.commit(session)
    assert "create" not in browser.store.taken()


def test_a_job_whose_session_goes_while_it_writes_is_interrupted(visitor):
    manager = SessionManager(visitor.store)
    session = manager.open(visitor.session_id)
    update = visitor.store.update

    def ended_meanwhile(id_hash, patch):
        visitor.store.delete(id_hash)
        return update(id_hash, patch)

    visitor.store.update = ended_meanwhile
    session["n"] = 2
    with pytest.raises(SessionInterrupted):
        session.save()


def test_a_job_that_ends_its_session_may_start_another(visitor):
    session = SessionManager(visitor.store).open(visitor.session_id)
    session.flush()
    session["n"] = 2
    session.save()
    assert session.id not in (None, visitor.session_id)


def test_a_handle_is_not_a_session_id(visitor):
    manager = SessionManager(visitor.store)
    visitor.get(lambda session: session.login("ann"))
    (info,) = manager.sessions("ann")
    with pytest.raises(SessionError, match="handle"):
        manager.open(info.handle)


def test_an_outer_middleware_that_writes_too_late_is_told(visitor, told):
    environ = environ_of(visitor)
    visitor.view = lambda environ, start_response: start_response(*OK) and [b""]
    visitor.middleware(environ, lambda status, headers, exc_info=None: lambda data: None)
    get_session(environ)["last_page"] = "/"
    environ.clear()
    gc.collect()
    (warning,) = told()
    assert "'last_page'" in warning


def test_a_value_that_turned_bad_after_the_request_is_told(visitor, told):
    session = kept(visitor)
    session["items"].append(object())
    with pytest.raises(EncodeError):
        session.save()
    del session
    gc.collect()
    (warning,) = told()
    assert "'items'" in warning


EXIT = """
import os, sys
from wsgisessions import MemoryStore, SQLiteStore, SessionManager
stores = [MemoryStore(), SQLiteStore(sys.argv[1])]
sessions = [SessionManager(store).open() for store in stores]
for session in sessions:
    session["n"] = 1
    session.save()
sys.kept = (stores, sessions)
"""


def test_the_interpreter_exits_without_a_word(tmp_path):
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", EXIT, tmp_path / "sessions.db"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
