"""Fresh stores on this run's servers, each with a table, collection or prefix of its own."""

import secrets
from datetime import timedelta

import pytest

from wsgisessions import MongoDBStore, MySQLStore, PostgresStore, Record, RedisStore
from wsgisessions.record import utc_now

STORES = {
    "redis": (RedisStore, "prefix"),
    "postgres": (PostgresStore, "table"),
    "mysql": (MySQLStore, "table"),
    "mongodb": (MongoDBStore, "collection"),
}


@pytest.fixture
def open_fresh():
    """Return a function that opens an empty store of a kind on a server, and sets it up."""
    stores = []

    def open_fresh(kind, server, *, setup=True, **options):
        store_class, name = STORES[kind]
        store = store_class(server, **{name: f"sessions_{secrets.token_hex(4)}", **options})
        stores.append(store)
        if setup:
            store.setup()
        return store

    yield open_fresh
    for store in stores:
        store.close()


@pytest.fixture(params=STORES)
def kind(request):
    """Name each engine that has a server, in turn."""
    return request.param


@pytest.fixture
def make_key():
    """Return a maker of keys that no session has."""
    return lambda: secrets.token_hex(32)


@pytest.fixture
def make_record():
    """Return a maker of records that live for an hour."""

    def make(values=None, *, lives=timedelta(hours=1), owner=None):
        now = utc_now()
        return Record({} if values is None else values, now, now, now + lives, owner)

    return make
