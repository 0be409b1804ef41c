"""Under gevent: a greenlet that is killed in any call leaves the store usable, and one that waits stops no other."""

import os
import subprocess
import sys

import pytest

KILLS = """
import os, random, sys
from gevent import monkey; monkey.patch_all()
import gevent
from wsgisessions import Outcome, Patch, Record, StoreUnavailable, open_store
from wsgisessions.record import utc_now
from datetime import timedelta

store, name = open_store(sys.argv[1], timeout=2, max_connections=3), os.urandom(32).hex()
store.setup()
now = utc_now()
store.create(name, Record({"n": "0"}, now, now, now + timedelta(hours=1)))
for number in range(60):
    calls = [gevent.spawn(store.load, name) for _ in range(4)]
    gevent.sleep(random.uniform(0, 0.003))
    for call in calls:
        call.kill()
    if number % 20 == 0:
        store.close()
for _ in range(6):
    assert store.update(name, Patch(set={"n": "1"})) is Outcome.DONE
    assert store.load(name).fields == {"n": "1"}
"""

EXHAUSTED = """
import os, sys
from gevent import monkey; monkey.patch_all()
import gevent, psycopg
from wsgisessions import open_store

store, name = open_store(sys.argv[1], timeout=5, max_connections=2), os.urandom(32).hex()
store.setup()
with store._connections.borrow(), store._connections.borrow():
    for _ in range(8):
        with gevent.Timeout(0.05, False):
            store.load(name)
assert store.load(name) is None
with psycopg.connect(sys.argv[1]) as other:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    assert other.execute(statement).fetchone()[0] <= 2 + 1
"""

WAITS = """
import sqlite3, sys, threading
from gevent import monkey; monkey.patch_all()
import gevent
from wsgisessions import SessionManager, SQLiteStore

session = SessionManager(SQLiteStore(sys.argv[1])).open()
session["n"] = 1
session.save()
writer = sqlite3.connect(sys.argv[1], isolation_level=None)
writer.execute("BEGIN IMMEDIATE")
session["n"] = 2
saving = gevent.spawn(session.save)
for _ in range(20):
    gevent.sleep(0.001)
assert not saving.dead
writer.execute("COMMIT")
saving.get(timeout=5)
"""


def run(code, *arguments):
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("kind", ["redis", "postgres", "mysql", "mongodb"])
def test_killed_greenlets_take_no_connection_with_them(kind, server_url):
    pytest.importorskip("gevent")
    run(KILLS, server_url(kind))


def test_greenlets_killed_while_they_wait_open_no_more_connections(server_class):
    pytest.importorskip("gevent")
    with server_class("postgres")() as server:
        run(EXHAUSTED, server.url)


def test_a_greenlet_that_waits_for_sqlite_stops_no_other(tmp_path):
    pytest.importorskip("gevent")
    run(WAITS, str(tmp_path / "sessions.db"))
