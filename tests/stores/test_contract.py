"""Every store keeps every promise of the contract, also where its server and its process are far from UTC."""

import secrets
import time
from datetime import timedelta

import pytest

from wsgisessions import CachingStore, MemoryStore, RedisStore, SQLiteStore
from wsgisessions.testing import StoreContract

MINUTE = timedelta(minutes=1)


class TestMemoryStore(StoreContract):
    def make_store(self, clock):
        return MemoryStore(clock=clock)


class TestSQLiteStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def make_store(self, clock):
        return SQLiteStore(self.folder / f"{secrets.token_hex(4)}.db", clock=clock)


class ServerContract(StoreContract):
    kind = ""
    server_zone = None

    @pytest.fixture(autouse=True)
    def _server(self, server_url, open_fresh):
        self.url = server_url(self.kind, self.server_zone)
        self.open_fresh = open_fresh

    def make_store(self, clock):
        options = {} if self.server_clock else {"clock": clock}
        return self.open_fresh(self.kind.partition("_")[0], self.url, setup=False, **options)


class Far:
    """Eleven hours behind UTC on the one side, fourteen hours ahead on the other."""

    process_zone = ""

    @pytest.fixture(autouse=True)
    def _zone(self, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setenv("TZ", self.process_zone)
            time.tzset()
            yield
        time.tzset()


class West(Far):
    server_zone, process_zone = "Pacific/Pago_Pago", "Pacific/Kiritimati"


class East(Far):
    server_zone, process_zone = "Pacific/Kiritimati", "Pacific/Pago_Pago"


class TestRedisStore(ServerContract):
    kind, server_clock = "redis", True


class TestRedisStoreOnACluster(TestRedisStore):
    kind = "redis_cluster"


class TestRedisStoreBySentinel(TestRedisStore):
    kind = "redis_sentinel"


class TestPostgresStore(ServerContract):
    kind = "postgres"


class TestMySQLStore(ServerContract):
    kind = "mysql"


class TestMongoDBStore(ServerContract):
    kind = "mongodb"


class TestSQLiteStoreFarWest(West, TestSQLiteStore):
    pass


class TestRedisStoreFarWest(West, TestRedisStore):
    pass


class TestRedisStoreFarEast(East, TestRedisStore):
    pass


class TestPostgresStoreFarWest(West, TestPostgresStore):
    pass


class TestPostgresStoreFarEast(East, TestPostgresStore):
    pass


class TestMySQLStoreFarWest(West, TestMySQLStore):
    pass


class TestMySQLStoreFarEast(East, TestMySQLStore):
    pass


class TestMongoDBStoreFarWest(West, TestMongoDBStore):
    pass


class TestMongoDBStoreFarEast(East, TestMongoDBStore):
    pass


class TestCachingStore(TestSQLiteStore):
    def make_store(self, clock):
        return CachingStore(MemoryStore(clock=clock), super().make_store(clock), max_age=MINUTE, clock=clock)


class TestCachingStoreWithRedis(TestRedisStore):
    def make_store(self, clock):
        cache = RedisStore(self.url, prefix=secrets.token_hex(4))
        return CachingStore(cache, super().make_store(clock), max_age=MINUTE)
