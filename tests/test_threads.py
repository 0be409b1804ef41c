"""Threads that are switched after almost every step find no torn session and lose nothing."""

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wsgisessions import Cookie, MemoryStore, SessionManager, SQLiteStore, get_session, merge

THREADS = 8


@pytest.fixture(autouse=True)
def hasty_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "sessions.db")


def in_threads(function):
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(function, range(THREADS)))


def start(manager):
    session = manager.open()
    session["n"] = 0
    session.save()
    return session.id


def test_threads_of_one_request_share_its_session(store):
    manager = SessionManager(store)
    session_id = start(manager)
    session = manager.open(session_id)

    def use(thread):
        own = {"n"}
        for number in range(100):
            key = f"{thread}-{number}"
            session[key] = [number]
            own.add(key)
            assert session[key] == [number]
            assert own <= set(session)
            if number % 10 == 9:
                session.save()
                del session[key]
                own.remove(key)

    in_threads(use)
    session.save()
    expected = {"n"} | {f"{thread}-{number}" for thread in range(THREADS) for number in range(100) if number % 10 != 9}
    assert set(manager.open(session_id)) == expected


def test_the_first_use_of_a_session_is_one_load(store):
    loads = []

    class Counting(type(store)):
        def load(self, id_hash):
            loads.append(id_hash)
            return super().load(id_hash)

    store.__class__ = Counting
    manager = SessionManager(store)
    session_id = start(manager)
    for _ in range(50):
        session = manager.open(session_id)
        loads.clear()
        in_threads(lambda thread, session=session: session["n"])
        assert len(loads) == 1


def test_requests_at_once_lose_nothing(store):
    manager = SessionManager(store, merges={"n": merge.add})
    session_id = start(manager)

    def visit(thread):
        for number in range(20):
            session = manager.open(session_id)
            session["n"] += 1
            session[f"{thread}-{number}"] = True
            session.save()

    in_threads(visit)
    session = manager.open(session_id)
    assert session["n"] == THREADS * 20
    assert len(session) == 1 + THREADS * 20


def test_a_lock_is_held_by_one(store):
    manager = SessionManager(store)
    session_id = start(manager)

    def visit(thread):
        for _ in range(10):
            session = manager.open(session_id)
            with session.lock(timeout=60):
                session["n"] += 1

    in_threads(visit)
    assert manager.open(session_id)["n"] == THREADS * 10


def test_a_finalizer_may_use_its_session_while_another_one_is_first_used(make_browser):
    class Collecting(Cookie):
        def read(self, environ, limit):
            gc.collect()  # as the collector may run at any time
            return super().read(environ, limit)

    browser = make_browser(transport=Collecting())
    browser.get(lambda session: session.update(n=1))

    class Stream:
        def __init__(self, session):
            self.session = session
            self.chunks = self.made()

        def made(self):
            try:
                yield b"one"
                yield b"two"
            finally:
                self.session.pop("n", None)

        def __iter__(self):
            return self.chunks

    def app(environ, start_response):
        session = get_session(environ)
        start_response("200 OK", [])
        return Stream(session)

    def abandon_and_visit():
        browser.view = app
        next(browser.middleware({"HTTP_COOKIE": browser.cookie}, lambda status, headers, exc_info=None: None))
        browser.get(dict)

    thread = threading.Thread(target=abandon_and_visit, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_a_session_is_first_used_can_use_others():
    code = """
import os, signal, threading
from wsgisessions import Cookie, MemoryStore, SessionMiddleware, get_session

is_reading, may_go_on = threading.Event(), threading.Event()

class Slow(Cookie):
    def read(self, environ, limit):
        if "slow" in environ:
            is_reading.set()
            may_go_on.wait(10)
        return super().read(environ, limit)

def app(environ, start_response):
    len(get_session(environ))
    start_response("200 OK", [])
    return []

app = SessionMiddleware(app, MemoryStore(), transport=Slow())
thread = threading.Thread(target=app, args=[{"slow": True}, lambda *arguments: None])
thread.start()
is_reading.wait(10)
child = os.fork()
if child == 0:
    signal.alarm(10)
    app({}, lambda *arguments: None)
    os._exit(0)
may_go_on.set()
thread.join()
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
