"""Bytes that nobody wrote, in each engine's own storage: a key that cannot be read, or a new session, never more."""

import json
import random
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from wsgisessions import DecodeError, MemoryStore, SessionManager, SQLiteStore, open_store
from wsgisessions.record import Patch, Record, utc_now
from wsgisessions.session_ids import SessionID

RECORDS = 10_000
TEXTS = {"cart": '["apple",{"$bytes":"AAEC"}]', "at": '{"$datetime":"2026-01-01T00:00:00+00:00"}', "n": "1", "": "null"}
PIECES = [b"", b"\0", b"\xff", b"{", b"}", b'"', b"\\", b"[", b'{"$', b"$type", b"1e999", b"NaN", b"\xed\xa0\x80", b"c"]


def mutate(chance, data):
    """Return bytes with some cut out, put in or replaced."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.choice([0, 1, 1, 5, len(data)])] = chance.choice(
            [*PIECES, bytes([chance.randrange(256)])]
        )
    return bytes(data)


def as_text(data):
    """Return what a text column would take."""
    return data.decode("utf-8", "replace").replace("\0", "\ufffd")


class Memory:
    """Has texts only: whatever a process's memory holds besides, the process itself wrote."""

    def __init__(self):
        self.store = MemoryStore()

    def damage(self, chance, id_hash, record):
        fields = {as_text(mutate(chance, b"key")) if chance.random() < 0.1 else k: v for k, v in record.fields.items()}
        name = chance.choice(list(fields))
        fields[name] = as_text(mutate(chance, fields[name].encode()))
        self.store.create(id_hash, Record(fields, record.created_at, record.touched_at, record.expires_at))

    def flush(self):
        """Nothing is put off."""


class Table:
    """Writes whole rows by the driver: the texts' column is bytes of any kind, the times now and then too."""

    def __init__(self):
        self.rows = []

    def escaped(self, fields):
        return dict(fields)

    def damage(self, chance, id_hash, record):
        fields = json.dumps(self.escaped(record.fields)).encode()
        times = [record.created_at, record.touched_at, record.expires_at]
        self.rows.append((id_hash, self.column(mutate(chance, fields)), *self.times(chance, times)))


class SQLite(Table):
    def __init__(self, folder):
        super().__init__()
        self.path = folder / "sessions.db"
        self.store = SQLiteStore(self.path)
        self.store.load("")

    def column(self, data):
        return data if len(data) % 2 else as_text(data)

    def times(self, chance, times):
        numbers = [round(each.timestamp() * 1e6) for each in times]
        if chance.random() < 0.3:
            numbers[chance.randrange(3)] = chance.choice([None, 2**62, "soon", b"\xff", 1e300, -(2**62)])
        return numbers

    def flush(self):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            # The table's own checks would refuse some; whoever can write the file can do without them.
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.executemany(
                "INSERT OR IGNORE INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?)",
                self.rows,
            )


class Redis:
    def __init__(self, url):
        import redis

        self.store = open_store(url)
        self.client = redis.Redis.from_url(url)
        self.pipeline = self.client.pipeline(transaction=False)

    def damage(self, chance, id_hash, record):
        numbers = [round(each.timestamp() * 1e6) for each in (record.created_at, record.touched_at, record.expires_at)]
        stored = dict(zip(["created_at", "touched_at", "expires_at"], numbers, strict=True))
        stored |= {"=" + name: text for name, text in record.fields.items()}
        name = chance.choice(list(stored))
        stored[name] = mutate(chance, str(stored[name]).encode())
        if chance.random() < 0.1:
            stored[mutate(chance, b"=name")] = b"null"
        self.pipeline.hset(f"wsgisessions:{id_hash}", mapping=stored)

    def flush(self):
        self.pipeline.execute()
        self.client.close()


class SQLTable(Table):
    """A server's table, whose JSON column takes nothing but JSON: of any shape, then."""

    def column(self, data):
        try:
            text = json.dumps(json.loads(data), ensure_ascii=False, allow_nan=False).replace("\\u0000", "")
            return text.encode("utf-8", "replace").decode()
        except ValueError:
            return random.Random(data).choice(['{"n": 1}', "[]", "null", '"text"', '{"n": {"n": "1"}}', '{"n": null}'])


class Postgres(SQLTable):
    def __init__(self, url):
        super().__init__()
        self.store = open_store(url)
        self.store.setup()
        self.url = url

    def times(self, chance, times):
        if chance.random() < 0.3:
            strange = ["infinity", "-infinity", "4000-01-01 BC", "20000-01-01", "9999-12-31 23:59:59.999999+00"]
            times[chance.randrange(3)] = chance.choice(strange)
        return times

    def flush(self):
        import psycopg

        with psycopg.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at, purge_at)"
                " VALUES (%s, %s, %s, %s, %s, now()) ON CONFLICT DO NOTHING",
                self.rows,
            )


class MySQL(SQLTable):
    def __init__(self, url):
        super().__init__()
        self.store = open_store(url)
        self.store.setup()
        self.parts = urlsplit(url)

    def escaped(self, fields):
        return {name or "%": text for name, text in fields.items()}

    def times(self, chance, times):
        times = [each.strftime("%Y-%m-%d %H:%M:%S.%f") for each in times]
        if chance.random() < 0.3:
            times[chance.randrange(3)] = chance.choice(["0000-00-00", "2026-00-31", "9999-12-31 23:59:59.999999"])
        return times

    def flush(self):
        import pymysql

        parts = self.parts
        with closing(
            pymysql.connect(
                host=parts.hostname,
                port=parts.port,
                user=parts.username,
                password=parts.password,
                database=parts.path[1:],
                autocommit=True,
            )
        ) as connection:
            cursor = connection.cursor()
            cursor.execute("SET sql_mode = ''")
            cursor.executemany(
                "INSERT IGNORE INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at)"
                " VALUES (%s, %s, %s, %s, %s)",
                self.rows,
            )


class MongoDB:
    def __init__(self, url):
        self.store = open_store(url)
        self.store.setup()
        self.url = url
        self.documents = []

    def damage(self, chance, id_hash, record):
        document = {
            "id_hash": id_hash,
            "fields": dict(record.fields),
            "created_at": record.created_at,
            "touched_at": record.touched_at,
            "expires_at": record.expires_at,
        }
        document["fields"]["%"] = document["fields"].pop("")
        at, name = chance.choice(
            [(document, name) for name in document if name != "id_hash"] + [(document["fields"], "n")] * 3
        )
        if chance.random() < 0.2:
            del at[name]
        elif isinstance(at[name], str) and chance.random() < 0.5:
            at[name] = as_text(mutate(chance, at[name].encode()))
        else:
            at[name] = chance.choice([None, 1, 2**62, 1e300, [], {}, "text", b"\xff", True, record.created_at])
        self.documents.append(document)

    def flush(self):
        from pymongo import MongoClient

        with MongoClient(self.url) as client:
            client.get_default_database()["wsgisessions"].insert_many(self.documents)


ENGINES = {"redis": Redis, "postgres": Postgres, "mysql": MySQL, "mongodb": MongoDB}


@pytest.fixture(params=["memory", "sqlite", *ENGINES])
def engine(request, tmp_path, server_class):
    kind = request.param
    with ExitStack() as stack:
        if kind == "memory":
            engine = Memory()
        elif kind == "sqlite":
            engine = SQLite(tmp_path)
        else:
            # A server of its own, for what is stored in it is not fit for others.
            engine = ENGINES[kind](stack.enter_context(server_class(kind)()).url)
        stack.callback(engine.store.close)
        yield engine


def look(session):
    """Read all of a session, and return what became of it."""
    if session.is_new:
        return "absent"
    found = "readable"
    for key in list(session):
        try:
            session[key]
        except DecodeError:  # noqa: PERF203 -- it is looked for
            found = "a key raises"
            del session[key]
    return found


def write(manager, session):
    """Do with a session what requests do; deleting its unreadable keys has mended it."""
    session["n"] = 2
    session.cycle_id()
    session.save()
    copy = manager.open(session.id)
    assert copy["n"] == 2
    assert dict(copy) == dict(session)
    assert manager.revoke(SessionID(session.id).id_hash)


def test_mutated_records_give_a_decode_error_or_a_new_session(engine, caplog):
    chance = random.Random(5)
    manager = SessionManager(engine.store)
    now = utc_now()
    ids = [SessionID.new().text for _ in range(RECORDS)]
    for session_id in ids:
        engine.damage(chance, SessionID(session_id).id_hash, Record(TEXTS, now, now, now + timedelta(days=1)))
    engine.flush()
    outcomes = Counter()
    for number, session_id in enumerate(ids):
        session = manager.open(session_id)
        outcomes[look(session)] += 1
        if number % 100 == 0 and not session.is_new:
            write(manager, session)
    assert outcomes["readable"] > 0
    assert outcomes["a key raises"] > 0
    if not isinstance(engine, Memory):
        assert outcomes["absent"] > 0
        assert any("cannot be read and counts as absent" in record.getMessage() for record in caplog.records)
    assert "apple" not in caplog.text


@pytest.mark.parametrize("name", ["wsgisessions.expiry", "wsgisessions.client"])
def test_an_own_field_that_is_too_deep_to_read_costs_nobody_the_session(name):
    store = MemoryStore()
    manager = SessionManager(store)
    session = manager.open()
    session["n"] = 1
    session.login("ann")
    session.save()
    store.update(SessionID(session.id).id_hash, Patch(set={name: "[" * 5000}))
    assert manager.open(session.id)["n"] == 1
    assert len(manager.sessions("ann")) == 1
