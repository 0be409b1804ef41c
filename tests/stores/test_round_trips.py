"""Each method is one round trip, counted by the server."""

import re
from datetime import timedelta

import pytest
from pymongo import MongoClient, monitoring
from servers import MariaDB, Postgres, Redis

from wsgisessions import Outcome, Patch, RedisStore
from wsgisessions.record import utc_now

HOUR = timedelta(hours=1)


class RedisCounter:
    """Counts how often the server read from its connections."""

    def __init__(self, server):
        self.server = server

    def count(self):
        return int(self.server.run("INFO", "stats")["total_reads_processed"])


class PostgresCounter:
    """Counts the statements in the server's log."""

    def __init__(self, server):
        self.log = server.folder / "server.log"

    def count(self):
        return len(re.findall(r"LOG:  (?:execute|statement)", self.log.read_text()))


class MySQLCounter:
    """Counts the statements that the server was sent."""

    def __init__(self, server):
        self.server = server

    def count(self):
        return int(self.server.run("SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])


class MongoDBCounter(monitoring.CommandListener):
    """Counts the commands that the driver sent."""

    def __init__(self):
        self.commands = 0

    def started(self, event):
        self.commands += 1

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass

    def count(self):
        return self.commands


@pytest.fixture
def counted(kind, server_url, open_fresh):
    """Yield a store and what counts its round trips."""
    if kind == "mongodb":
        counter = MongoDBCounter()
        with MongoClient(server_url(kind), event_listeners=[counter]) as client:
            yield open_fresh(kind, client), counter
        return
    server_url(kind)
    server_class, counter_class, options = {
        "redis": (Redis, RedisCounter, []),
        "postgres": (Postgres, PostgresCounter, ["--log_statement=all"]),
        "mysql": (MariaDB, MySQLCounter, []),
    }[kind]
    with server_class(*options) as server:
        yield open_fresh(kind, server.url), counter_class(server)


def own_trips(counter):
    """Return what one count adds to the next."""
    counter.count()
    first = counter.count()
    return counter.count() - first


def test_each_method_is_one_round_trip(counted, make_id_hash, make_record):
    store, counter = counted
    id_hash, other, new_id_hash = make_id_hash(), make_id_hash(), make_id_hash()
    calls = {
        "create": (lambda: store.create(id_hash, make_record({"a": "1"}, owner="ann")), True),
        "load": (lambda: store.load(id_hash).fields, {"a": "1"}),
        "load an absent one": (lambda: store.load(other), None),
        "update": (lambda: store.update(id_hash, Patch(set={"b": "1"}, remove={"c"})), Outcome.DONE),
        "update if": (lambda: store.update(id_hash, Patch(set={"b": "2"}, expect={"b": "1", "c": None})), Outcome.DONE),
        "update an absent one": (lambda: store.update(other, Patch(set={"b": "1"})), Outcome.GONE),
        "touch": (lambda: store.update(id_hash, Patch(expires_at=utc_now() + HOUR)), Outcome.DONE),
        "set the owner": (lambda: store.update(id_hash, Patch(owner="bob")), Outcome.DONE),
        "acquire": (lambda: store.acquire(id_hash, "token", HOUR), True),
        "update under a lease": (lambda: store.update(id_hash, Patch(set={"b": "3"}, token="token")), Outcome.DONE),
        "release": (lambda: store.release(id_hash, "token"), True),
        "rename": (
            lambda: store.rename(id_hash, new_id_hash, Patch(set={"b": "4"}, expires_at=utc_now() + HOUR)),
            Outcome.DONE,
        ),
        "delete if empty": (lambda: store.delete(new_id_hash, if_empty=True), False),
        "delete the owner's": (lambda: store.delete_owner("bob"), 1),
        "delete": (lambda: store.delete(new_id_hash), False),
    }
    for call, _ in calls.values():
        call()  # opens connections, loads scripts
    store.delete(id_hash)
    store.delete(new_id_hash)
    own = own_trips(counter)
    trips = {}
    for name, (call, answer) in calls.items():
        before = counter.count()
        assert call() == answer, name
        trips[name] = counter.count() - before - own
    assert trips == dict.fromkeys(calls, 1)


def test_a_failed_expectation_costs_one_more_to_tell_why(counted, make_id_hash, make_record):
    store, counter = counted
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1"}))
    patch = Patch(set={"a": "2"}, expect={"a": "0"})
    store.update(id_hash, patch)
    own = own_trips(counter)
    before = counter.count()
    assert store.update(id_hash, patch) is Outcome.CONFLICT
    assert counter.count() - before - own == (1 if isinstance(store, RedisStore) else 2)
