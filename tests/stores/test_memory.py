"""What the memory store promises beyond the contract: it stays within its bounds."""

import logging
import random
from datetime import timedelta

import pytest

from wsgisessions import ConfigurationError, MemoryStore, Patch, Record


@pytest.fixture
def add(clock):
    def add(store, id_hash, hours, owner=None):
        store.create(id_hash, Record({}, clock(), clock(), clock() + timedelta(hours=hours), owner))

    return add


def test_a_full_store_evicts_the_soonest_to_expire_and_says_so_once(clock, add, caplog):
    store = MemoryStore(max_sessions=3, clock=clock)
    for id_hash, hours in [("a", 5), ("b", 1), ("c", 9)]:
        add(store, id_hash, hours)
    assert caplog.records == []
    add(store, "d", 7)
    add(store, "e", 8)
    assert [id_hash for id_hash in "abcde" if store.load(id_hash) is not None] == ["c", "d", "e"]
    (record,) = caplog.records
    assert (record.levelno, "max_sessions (now 3)" in record.getMessage()) == (logging.WARNING, True)


def test_a_full_store_evicts_the_expired_first_and_silently(clock, add, caplog):
    store = MemoryStore(max_sessions=2, clock=clock)
    add(store, "a", 1)
    add(store, "b", 9)
    clock.advance(timedelta(hours=2))
    add(store, "c", 5)
    assert [id_hash for id_hash in "abc" if store.load(id_hash) is not None] == ["b", "c"]
    assert caplog.records == []


def test_a_touched_session_is_spared(clock, add):
    store = MemoryStore(max_sessions=2, clock=clock)
    add(store, "a", 1)
    add(store, "b", 2)
    store.update("a", Patch(expires_at=clock() + timedelta(hours=3)))
    add(store, "c", 4)
    assert [id_hash for id_hash in "abc" if store.load(id_hash) is not None] == ["a", "c"]


def test_nothing_is_left_of_sessions_that_are_gone(clock, add):
    store = MemoryStore(clock=clock)
    generator = random.Random(0)
    for number in range(300):
        add(store, str(number), generator.uniform(1, 9), owner=f"owner {number % 7}")
        store.acquire(str(number), "token", timedelta(hours=9))
    for number in range(0, 300, 2):
        store.update(str(number), Patch(expires_at=clock() + timedelta(hours=20), owner="other"))
        store.rename(str(number), f"new {number}", Patch())
    store.delete_owner("other")
    clock.advance(timedelta(hours=10))
    while store.delete_expired(limit=7):
        pass
    assert [kept for kept in vars(store).values() if isinstance(kept, (dict, list)) and kept] == []


@pytest.mark.parametrize("max_sessions", [0, -1, "many"])
def test_a_bound_that_makes_no_sense_is_refused(max_sessions):
    with pytest.raises(ConfigurationError, match="max_sessions"):
        MemoryStore(max_sessions=max_sessions)
