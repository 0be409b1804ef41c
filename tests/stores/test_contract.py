"""Every store keeps every promise of the contract."""

import secrets
from datetime import timedelta

import pytest

from wsgisessions import CachingStore, MemoryStore, SQLiteStore
from wsgisessions.testing import StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, clock):
        return MemoryStore(clock=clock)


class TestSQLiteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self, clock):
        return SQLiteStore(self.folder / f"{secrets.token_hex(4)}.db", clock=clock)


class TestPostgresStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server_url):
        self.url = server_url("postgres")

    def make_store(self, clock):
        from wsgisessions.stores.postgres import PostgresStore

        return PostgresStore(self.url, table=f"table {secrets.token_hex(4)}", clock=clock)


class TestRedisStore(StoreContract):
    server_clock = True

    @pytest.fixture(autouse=True)
    def _server(self, server_url):
        self.url = server_url("redis")

    def make_store(self, clock):
        from wsgisessions.stores.redis import RedisStore

        return RedisStore(self.url, prefix=secrets.token_hex(4))


class TestMySQLStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server_url):
        self.url = server_url("mysql")

    def make_store(self, clock):
        from wsgisessions.stores.mysql import MySQLStore

        return MySQLStore(self.url, table=f"table {secrets.token_hex(4)}", clock=clock)


class TestMongoDBStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server_url):
        self.url = server_url("mongodb")

    def make_store(self, clock):
        from wsgisessions.stores.mongodb import MongoDBStore

        return MongoDBStore(self.url, collection=f"collection {secrets.token_hex(4)}", clock=clock)


class TestCachingStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self, clock):
        store = SQLiteStore(self.folder / f"{secrets.token_hex(4)}.db", clock=clock)
        return CachingStore(MemoryStore(clock=clock), store, max_age=timedelta(minutes=1), clock=clock)
