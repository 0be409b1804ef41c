"""The engines' own plans show that each statement uses an index."""

import re
import secrets
from datetime import timedelta

import psycopg
import pytest
from pymongo import MongoClient, monitoring

from wsgisessions import Patch, Record
from wsgisessions.record import utc_now
from wsgisessions.stores import mysql, postgres

HOUR = timedelta(hours=1)
SESSIONS = 2000

CALLS = {
    "load": (lambda store, id_hash: store.load(id_hash), "id_hash"),
    "update": (
        lambda store, id_hash: store.update(id_hash, Patch(set={"a": "2"}, expect={"a": "1", "b": None})),
        "id_hash",
    ),
    "rename": (lambda store, id_hash: store.rename(id_hash, id_hash[::-1], Patch()), "id_hash"),
    "delete": (lambda store, id_hash: store.delete(id_hash, if_empty=True), "id_hash"),
    "acquire": (lambda store, id_hash: store.acquire(id_hash, "token", HOUR), "id_hash"),
    "purge": (lambda store, id_hash: store.delete_expired(), "expiry"),
    "find": (lambda store, id_hash: list(store.find("owner 7")), "owner"),
    "delete owner": (lambda store, id_hash: store.delete_owner("owner 7"), "owner"),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


def add(store, number, lives=HOUR):
    """Store a session, and return its ID hash."""
    id_hash, now = secrets.token_hex(32), utc_now()
    store.create(id_hash, Record({"a": "1"}, now, now, now + lives, f"owner {number % 500}"))
    return id_hash


def fill(store):
    """Store sessions of which one in a hundred has expired."""
    for number in range(SESSIONS):
        add(store, number, -HOUR if number % 100 == 0 else HOUR + timedelta(seconds=number))


@pytest.fixture(scope="module")
def full_postgres(server_url):
    # Of its own: another process of the tests has one too.
    store = postgres.PostgresStore(server_url("postgres"), table=f"full_{secrets.token_hex(4)}")
    store.setup()
    fill(store)
    store._execute("ANALYZE {table}", ())
    yield store
    store.close()


def test_postgresql(full_postgres, call, server_url, monkeypatch):
    store, (run, index) = full_postgres, call
    id_hash = add(store, 7)
    seen = []
    execute = psycopg.Cursor.execute

    def note(cursor, statement, parameters=None, **options):
        with psycopg.connect(server_url("postgres")) as other:
            seen.extend(row[0] for row in execute(other.cursor(), b"EXPLAIN " + statement, parameters))
            other.rollback()
        return execute(cursor, statement, parameters, **options)

    monkeypatch.setattr(psycopg.Cursor, "execute", note)
    run(store, id_hash)
    plan = "\n".join(seen)
    assert "Seq Scan on full_" not in plan
    name = {"id_hash": "pkey", "expiry": "purge_at", "owner": "owner"}[index]
    assert re.search(rf"Index (Only )?Scan (using|on) full_\w+_{name}\b", plan)


@pytest.fixture(scope="module")
def full_mysql(server_url):
    store = mysql.MySQLStore(server_url("mysql"), table=f"full_{secrets.token_hex(4)}")
    store.setup()
    fill(store)
    store._execute("ANALYZE TABLE {table}", {})
    yield store
    store.close()


def test_mysql(full_mysql, call, monkeypatch):
    store, (run, index) = full_mysql, call
    id_hash = add(store, 7)
    seen = []
    execute = mysql.Cursor.execute

    def note(cursor, statement, parameters=None):
        execute(cursor, "EXPLAIN " + statement, parameters)
        seen.extend(cursor.fetchall())
        return execute(cursor, statement, parameters)

    monkeypatch.setattr(mysql.Cursor, "execute", note)
    run(store, id_hash)
    kind, used = {(row[3], row[5]) for row in seen}.pop()
    assert kind != "ALL"
    assert used == {"id_hash": "by_id_hash", "expiry": "by_expires_at", "owner": "by_owner"}[index]


class Commands(monitoring.CommandListener):
    """Remembers the commands."""

    def __init__(self):
        self.seen = []

    def started(self, event):
        self.seen.append(event.command)

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


def as_find(command):
    """Return the find that looks for what a command changes: SecantusDB explains no other's index."""
    collection = next(iter(command.values()))
    (change,) = command.get("updates") or command.get("deletes") or [command]
    names = {"q": "filter", "filter": "filter", "hint": "hint", "sort": "sort"}
    return {"find": collection} | {names[name]: value for name, value in change.items() if name in names}


def test_mongodb(call, server_url, open_fresh, make_id_hash, make_record):
    run, index = call
    commands = Commands()
    with MongoClient(server_url("mongodb"), event_listeners=[commands]) as client:
        store = open_fresh("mongodb", client)
        id_hash = make_id_hash()
        store.create(id_hash, make_record({"a": "1"}, owner="owner 7"))
        commands.seen.clear()
        run(store, id_hash)
        plan = str(client.get_default_database().command("explain", as_find(commands.seen[0])))
    assert "COLLSCAN" not in plan
    assert f"'indexName': '{ {'expiry': 'expires_at'}.get(index, index) }'" in plan
