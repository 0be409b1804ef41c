"""Every store keeps every promise of the contract."""

import secrets

import pytest

from wsgisessions import MemoryStore, SQLiteStore
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
