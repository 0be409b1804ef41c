"""No update is lost between threads and processes, and the same test sees it when one is."""

import os
import runpy
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from socketserver import ThreadingMixIn
from urllib.request import Request, urlopen
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from forks import exit_code, start_child

from wsgisessions import (
    MemoryStore,
    Outcome,
    Patch,
    SessionConflict,
    SessionManager,
    SessionMiddleware,
    SQLiteStore,
    get_session,
    merge,
)

UPDATES = 10_000
PROCESSES = 4
THREADS = 8
INCREMENTS = 500

WRITERS = Path(__file__).with_name("writers.py")
write_keys = runpy.run_path(str(WRITERS))["write_keys"]


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "sessions.db")


def start_session(store, **values):
    session = SessionManager(store).open()
    session["start"] = True
    session.update(values)
    session.save()
    return session.id


def run_threads(target, argument_lists):
    """Run a function in threads that switch as often as they can, and return their results."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(len(argument_lists)) as pool:
            futures = [pool.submit(target, *arguments) for arguments in argument_lists]
            return [future.result() for future in futures]
    finally:
        sys.setswitchinterval(interval)


def run_processes(role, path, session_ids, count):
    """Run four writers at once, and raise if one of them did."""
    command = [sys.executable, str(WRITERS), role, path]
    processes = [subprocess.Popen([*command, str(number), str(count), *session_ids]) for number in range(PROCESSES)]
    assert [process.wait() for process in processes] == [0] * PROCESSES


def count_lost_updates(store, updates):
    """Let threads write their own keys in one session, and count what was lost."""
    session_id = start_session(store)
    noticed = run_threads(write_keys, [(store, session_id, t, updates // THREADS) for t in range(THREADS)])
    # A late writer may wipe out what others had found in order when they left.
    missing = 1 + THREADS * 10 - len(SessionManager(store).open(session_id))
    return sum(noticed) + missing


def test_threads_on_memory_lose_no_update():
    assert count_lost_updates(MemoryStore(), UPDATES) == 0


def test_processes_with_threads_on_sqlite_lose_no_update(path):
    store = SQLiteStore(path)
    session_id = start_session(store)
    each = UPDATES // PROCESSES // THREADS + 1
    run_processes("write", path, [session_id], each)
    assert len(SessionManager(store).open(session_id)) == 1 + PROCESSES * THREADS * 10


class WholeMapStore(MemoryStore):
    """Wrong on purpose: rewrites the whole session, as every session library of old does."""

    def update(self, id_hash, patch):
        record = self.load(id_hash)
        if record is None:
            return Outcome.GONE
        fields = patch.applied_to(record.fields)
        time.sleep(0.001)
        others = self.load(id_hash).fields.keys() - fields.keys()
        return super().update(id_hash, Patch(set=fields, remove=others))


def test_a_store_that_rewrites_the_whole_session_is_seen_to_lose():
    assert count_lost_updates(WholeMapStore(), 400) > 0
    assert count_lost_updates(MemoryStore(), 400) == 0


def test_processes_that_take_turns_count_exactly(path):
    store = SQLiteStore(path)
    session_id = start_session(store, n=0)
    run_processes("lock", path, [session_id], INCREMENTS)
    assert SessionManager(store).open(session_id)["n"] == PROCESSES * INCREMENTS


def test_processes_that_merge_count_exactly_and_keep_every_item(path):
    store = SQLiteStore(path)
    session_id = start_session(store, n=0, items=[])
    run_processes("merge", path, [session_id], INCREMENTS)
    session = SessionManager(store).open(session_id)
    assert session["n"] == PROCESSES * INCREMENTS
    assert sorted(session["items"]) == [[p, n] for p in range(PROCESSES) for n in range(0, INCREMENTS, 10)]


def test_threads_that_merge_or_take_turns_on_memory_count_exactly():
    store = MemoryStore()
    session_id = start_session(store, n=0, m=0)
    manager = SessionManager(store, merges={"n": merge.add})

    def add():
        for _ in range(100):
            session = manager.open(session_id)
            session["n"] += 1
            session.save()
            with session.lock(timeout=60):
                session["m"] += 1

    run_threads(add, [()] * 4)
    session = manager.open(session_id)
    assert (session["n"], session["m"]) == (400, 400)


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


def test_under_refuse_each_lost_race_is_a_409_and_the_200s_add_up(store):
    def app(environ, start_response):
        session = get_session(environ)
        n = session["n"]
        time.sleep(0.001)
        session["n"] = n + 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    session_id = start_session(store, n=0)
    statuses = []

    def visit():
        from urllib.error import HTTPError

        for _ in range(25):
            request = Request(f"http://127.0.0.1:{server.server_port}/", headers={"Cookie": f"__Host-id={session_id}"})
            try:
                with urlopen(request, timeout=60) as response:
                    statuses.append(response.status)
            except HTTPError as error:
                statuses.append(error.code)
                error.close()

    middleware = SessionMiddleware(app, store, on_conflict="refuse")
    with make_server("127.0.0.1", 0, middleware, ThreadingServer, QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(visit) for _ in range(8)]:
                future.result()
        server.shutdown()
        thread.join()
    assert set(statuses) == {200, 409}
    assert len(statuses) == 200
    assert SessionManager(store).open(session_id)["n"] == statuses.count(200)


def test_a_write_that_races_with_flush_never_leaves_a_live_session(store):
    from wsgisessions import SessionInterrupted

    manager = SessionManager(store)
    for _ in range(50):
        session_id = start_session(store, n=0)
        start = threading.Barrier(5, timeout=60)

        def write(session_id=session_id, start=start):
            session = manager.open(session_id)
            session.get("n")
            start.wait()
            for number in range(3):
                session["n"] = number + 1
                try:
                    session.save()
                except SessionInterrupted:
                    return

        def log_out(session_id=session_id, start=start):
            session = manager.open(session_id)
            start.wait()
            session.flush()
            session.save()

        run_threads(lambda target: target(), [(write,)] * 4 + [(log_out,)])
        assert manager.open(session_id).is_new


def test_a_new_id_beats_the_writes_of_requests_in_flight(store):
    manager = SessionManager(store)
    session_id = start_session(store, n=0)
    in_flight = manager.open(session_id)
    assert in_flight["n"] == 0
    login = manager.open(session_id)
    login.login("ann")
    login.save()
    in_flight["n"] = 1
    with pytest.raises(Exception, match="deleted or ran out"):
        in_flight.save()
    assert manager.open(session_id).is_new
    assert manager.open(login.id)["n"] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_store_made_before_a_fork_serves_both_sides(path):
    store = SQLiteStore(path)
    session_id = start_session(store)
    writes = [partial(write_keys, store, session_id, f"child {child}", 50) for child in range(4)]
    children = [start_child(write) for write in writes]
    assert write_keys(store, session_id, "parent", 50) == 0
    assert [exit_code(child) for child in children] == [0] * 4
    assert len(SessionManager(store).open(session_id)) == 5 * 10 + 1


def test_refused_writers_may_try_again_until_all_are_through():
    store = MemoryStore()
    session_id = start_session(store, n=0)
    manager = SessionManager(store, on_conflict="refuse")

    def add():
        for _ in range(50):
            while True:
                session = manager.open(session_id)
                session["n"] += 1
                try:
                    session.save()
                    break
                except SessionConflict:
                    continue

    run_threads(add, [()] * 4)
    assert manager.open(session_id)["n"] == 200
