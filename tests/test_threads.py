"""Threads that are switched after almost every step find no torn session and lose nothing."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from wsgisessions import MemoryStore, SessionManager, SQLiteStore, merge

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
