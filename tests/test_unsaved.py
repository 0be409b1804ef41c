"""What is not saved is an error, or a line in the log: never silence."""

import gc
import logging
import subprocess
import sys
import threading

import pytest

from wsgisessions import EncodeError, SessionError, SessionInterrupted, SessionManager, get_session

OK = ("200 OK", [("Content-Type", "text/plain")])


@pytest.fixture
def told(caplog):
    """Return a function that gives the warnings of the log since the last call."""

    def told():
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
