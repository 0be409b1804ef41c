"""A cache in front of a store: fast, never older than a completed write, and no loss when it fails."""

import logging
import threading
from datetime import timedelta

import pytest

from wsgisessions import (
    CachingStore,
    ConfigurationError,
    MemoryStore,
    Outcome,
    Patch,
    Record,
    RedisStore,
    SessionManager,
    SQLiteStore,
    StoreUnavailable,
)
from wsgisessions.record import utc_now

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class SlowStore(SQLiteStore):
    """Stops in each load after it has read, until it is told to go on."""

    def __init__(self, path, **options):
        super().__init__(path, **options)
        self.has_read = threading.Event()
        self.may_go_on = threading.Event()

    def load(self, id_hash):
        record = super().load(id_hash)
        self.has_read.set()
        assert self.may_go_on.wait(10)
        return record


class FailingStore(MemoryStore):
    """Fails while it is told to."""

    is_failing = False

    def __getattribute__(self, name):
        is_method = name in ("create", "load", "update", "delete", "delete_owner", "delete_expired")
        if is_method and object.__getattribute__(self, "is_failing"):
            raise StoreUnavailable("the cache is down")
        return object.__getattribute__(self, name)


@pytest.fixture
def store(make_recording_store, clock):
    return make_recording_store(clock=clock)


@pytest.fixture
def cached(store, clock):
    return CachingStore(MemoryStore(clock=clock), store, max_age=MINUTE, clock=clock)


@pytest.fixture
def make_record(clock):
    return lambda fields, owner=None: Record(fields, clock(), clock(), clock() + HOUR, owner)


def test_what_was_read_once_is_read_from_the_cache_for_max_age(cached, store, clock, make_record):
    cached.create("id_hash", make_record({"a": "1"}, "ann"))
    first = cached.load("id_hash")
    store.taken()
    assert cached.load("id_hash") == first == make_record({"a": "1"}, "ann")
    assert store.taken() == []
    clock.advance(MINUTE)
    assert cached.load("id_hash") == first
    assert store.taken() == ["load"]


def test_a_copy_keeps_the_records_own_times(cached, store, clock, make_record):
    record = make_record({"a": "1"})
    cached.create("id_hash", record)
    clock.advance(timedelta(seconds=7))
    cached.load("id_hash")
    clock.advance(timedelta(seconds=7))
    assert cached.load("id_hash") == record


def test_absent_sessions_leave_nothing_in_the_cache(store, clock):
    cache = MemoryStore(clock=clock)
    cached = CachingStore(cache, store, max_age=MINUTE, clock=clock)
    for number in range(100):
        assert cached.load(str(number)) is None
        assert cache.load(str(number)) is None


WRITES = {
    "update": lambda store: store.update("id_hash", Patch(set={"a": "2"})),
    "rename": lambda store: store.rename("id_hash", "new_id_hash", Patch()),
    "delete": lambda store: store.delete("id_hash"),
    "delete if empty": lambda store: store.delete("id_hash", if_empty=True),
    "delete owner": lambda store: store.delete_owner("ann"),
    "acquire": lambda store: store.acquire("id_hash", "token", HOUR),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_after_a_write_a_load_asks_the_store(write, cached, store, make_record):
    cached.create("id_hash", make_record({"a": "1"}, "ann"))
    cached.load("id_hash")
    write(cached)
    store.taken()
    assert cached.load("id_hash") == store.load("id_hash")
    assert store.taken()[0] == "load"


@pytest.mark.parametrize("cache_kind", ["memory", "redis", "another process's redis"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_slow_load_never_brings_back_what_was_replaced(
    write, cache_kind, tmp_path, server_url, make_id_hash, make_record, clock
):
    slow = SlowStore(tmp_path / "sessions.db")
    prefix = make_id_hash()
    caches = [MemoryStore()] * 2
    if cache_kind != "memory":
        caches = [RedisStore(server_url("redis"), prefix=prefix) for _ in range(2)]
    mine = CachingStore(caches[0], SQLiteStore(tmp_path / "sessions.db"), max_age=MINUTE)
    reader = CachingStore(caches[1], slow, max_age=MINUTE)
    clock.now = utc_now()
    mine.create("id_hash", make_record({"a": "1"}, "ann"))
    if cache_kind != "another process's redis":
        # The same instance, whose store is slow for the reader only.
        mine = reader
    slow_load = threading.Thread(target=reader.load, args=["id_hash"])
    slow_load.start()
    assert slow.has_read.wait(10)
    write(mine)
    slow.may_go_on.set()
    slow_load.join()
    direct = SQLiteStore(tmp_path / "sessions.db")
    assert mine.load("id_hash") == direct.load("id_hash")
    for each in (*caches, direct):
        each.close()


class PausingStore(MemoryStore):
    """Stops each load after it has read, until that one is told to go on."""

    def __init__(self):
        super().__init__()
        self.loads = []

    def load(self, id_hash):
        record = super().load(id_hash)
        if threading.current_thread() is not threading.main_thread():
            may_go_on = threading.Event()
            self.loads.append(may_go_on)
            assert may_go_on.wait(10)
        return record

    def start_loads(self, cached, id_hash, count):
        """Start loads one after the other, and return their threads when all have read."""
        threads = [threading.Thread(target=cached.load, args=[id_hash]) for _ in range(count)]
        for thread in threads:
            before = len(self.loads)
            thread.start()
            while len(self.loads) == before:
                pass
        return threads


def test_a_slow_load_does_not_overwrite_the_copy_of_a_later_one(make_record, clock):
    store = PausingStore()
    cached = CachingStore(MemoryStore(), store, max_age=MINUTE)
    clock.now = utc_now()
    cached.create("id_hash", make_record({"a": "1"}))
    (old,) = store.start_loads(cached, "id_hash", 1)
    cached.update("id_hash", Patch(set={"a": "2"}))
    (new,) = store.start_loads(cached, "id_hash", 1)
    for may_go_on, thread in reversed(list(zip(store.loads, (old, new), strict=True))):
        may_go_on.set()
        thread.join()
    assert cached.load("id_hash").fields == {"a": "2"}


def test_a_slow_load_of_a_session_that_has_just_got_its_owner_leaves_no_copy(make_record, clock, monkeypatch):
    store = PausingStore()
    cached = CachingStore(MemoryStore(), store, max_age=MINUTE)
    clock.now = utc_now()
    cached.create("id_hash", make_record({"a": "1"}, "ann"))
    (slow,) = store.start_loads(cached, "id_hash", 1)
    monkeypatch.setattr(store, "find", lambda owner: iter(()))
    assert cached.delete_owner("ann") == 1
    store.loads[0].set()
    slow.join()
    assert cached.load("id_hash") is None


def test_another_process_sees_a_change_within_max_age(store, clock, make_record):
    ours, theirs = (CachingStore(MemoryStore(clock=clock), store, max_age=MINUTE, clock=clock) for _ in range(2))
    ours.create("id_hash", make_record({"a": "1"}))
    theirs.load("id_hash")
    ours.update("id_hash", Patch(set={"a": "2"}))
    assert ours.load("id_hash").fields == {"a": "2"}
    assert theirs.load("id_hash").fields == {"a": "1"}
    clock.advance(MINUTE)
    assert theirs.load("id_hash").fields == {"a": "2"}


def test_a_lock_reads_afresh_what_another_process_counted(store, clock, make_record):
    managers = [
        SessionManager(CachingStore(MemoryStore(clock=clock), store, max_age=MINUTE, clock=clock), clock=clock)
        for _ in range(2)
    ]
    session = managers[0].open()
    session["n"] = 0
    session.save()
    for round_number in range(10):
        mine = managers[round_number % 2].open(session.id)
        with mine.lock():
            mine["n"] += 1
    assert SessionManager(store, clock=clock).open(session.id)["n"] == 10


def test_a_cache_that_fails_costs_speed_and_no_sessions(store, clock, make_record, caplog, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: seconds[0])
    cache = FailingStore(clock=clock)
    cached = CachingStore(cache, store, max_age=MINUTE, clock=clock)
    cached.create("id_hash", make_record({"a": "1"}, "ann"))
    cached.load("id_hash")
    cache.is_failing = True
    assert cached.load("id_hash").fields == {"a": "1"}
    assert cached.update("id_hash", Patch(set={"a": "2"})) is Outcome.DONE
    assert cached.load("id_hash").fields == {"a": "2"}
    # The cache is back, and still holds the copy that it could not be told to forget.
    cache.is_failing = False
    assert cached.load("id_hash").fields == {"a": "2"}
    clock.advance(MINUTE)
    seconds[0] += 61
    assert cached.load("id_hash").fields == {"a": "2"}
    store.taken()
    assert cached.load("id_hash").fields == {"a": "2"}
    assert store.taken() == []
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_write_whose_copy_could_not_be_forgotten_is_not_undone(store, clock, make_record, monkeypatch):
    cache = FailingStore(clock=clock)
    cached = CachingStore(cache, store, max_age=MINUTE, clock=clock)
    cached.create("id_hash", make_record({"a": "1"}))
    cached.load("id_hash")
    cache.is_failing = True
    cached.delete("id_hash")
    cache.is_failing = False
    assert cached.load("id_hash") is None


def test_a_write_that_is_interrupted_while_it_forgets_leaves_no_copy_in_use(store, clock, make_record, monkeypatch):
    cache = MemoryStore(clock=clock)
    cached = CachingStore(cache, store, max_age=MINUTE, clock=clock)
    cached.create("id_hash", make_record({"a": "1"}))
    cached.load("id_hash")

    def interrupt(id_hash):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "delete", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cached.delete("id_hash")
    assert cached.load("id_hash") is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MemoryStore(), MemoryStore(), timedelta(0)), "a timedelta above zero"),
        ((MemoryStore(), MemoryStore(), 60), "a timedelta above zero, a year at most; got 60"),
        (("redis://", MemoryStore(), MINUTE), "takes two stores, cache and store; got str"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, message):
    cache, store, max_age = arguments
    with pytest.raises(ConfigurationError, match=message):
        CachingStore(cache, store, max_age=max_age)


@pytest.mark.parametrize("times", ["", "soon", "2026-01-01T00:00:00 2026-01-01T00:00:00 2026-01-01T00:00:00", "a b c"])
def test_a_damaged_copy_is_not_used(clock, store, make_record, times, caplog):
    cache = MemoryStore(clock=clock)
    cached = CachingStore(cache, store, max_age=MINUTE, clock=clock)
    cached.create("id_hash", make_record({"a": "1"}))
    cached.load("id_hash")
    assert cache.update("id_hash", Patch(set={"times": times})) is Outcome.DONE
    assert cached.load("id_hash") == make_record({"a": "1"})
    assert "cannot be read" in caplog.text
