"""Expired sessions go, once or from time to time, by one of many processes, whatever fails."""

import logging
import os
import threading
import time
from datetime import timedelta

import pytest
from forks import exit_code, start_child

from wsgisessions import ConfigurationError, MemoryStore, Record, SessionManager, SQLiteStore, StoreUnavailable
from wsgisessions.record import utc_now

SHORT = timedelta(milliseconds=100)


def fill(store, count, lives=timedelta(seconds=-1)):
    now = utc_now()
    for number in range(count):
        store.create(f"{number:064}", Record({}, now, now, now + lives))


def wait_until(holds):
    give_up_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


class CountingStore(MemoryStore):
    """Counts the purges, which fail as often as it is told."""

    def __init__(self, failures=0):
        super().__init__()
        self.failures = failures
        self.purges = 0

    def delete_expired(self, limit=1000):
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("not now")
        self.purges += 1
        return super().delete_expired(limit)


def test_a_plain_purge_deletes_every_batch_and_says_how_many(store):
    fill(store, 2500)
    assert SessionManager(store).purge() == 2500
    assert SessionManager(store).purge() == 0


def test_a_periodic_purge_goes_on_until_it_is_stopped():
    store = CountingStore()
    periodic = SessionManager(store).purge(every=SHORT)
    wait_until(lambda: store.purges >= 3)
    periodic.stop()
    purges = store.purges
    time.sleep(0.3)
    assert store.purges == purges


def test_it_survives_errors_and_logs_them(caplog):
    store = CountingStore(failures=2)
    periodic = SessionManager(store).purge(every=SHORT)
    wait_until(lambda: store.purges)
    periodic.stop()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.records[0].exc_info[0] is StoreUnavailable


def test_of_many_workers_one_does_it_in_each_period():
    store = CountingStore()
    every = timedelta(seconds=1)
    started = time.monotonic()
    workers = [SessionManager(store).purge(every=every) for _ in range(8)]
    wait_until(lambda: store.purges >= 3)
    for worker in workers:
        worker.stop()
    periods = (time.monotonic() - started) / every.total_seconds()
    # A turn lasts for four fifths of a period.
    assert store.purges <= 1 + periods / 0.8


def test_threads_of_many_workers_do_not_start_at_once():
    store = CountingStore()
    moments = []
    create = store.create

    def note(id_hash, record):
        moments.append(time.monotonic())
        return create(id_hash, record)

    store.create = note
    workers = [SessionManager(store).purge(every=timedelta(seconds=1)) for _ in range(8)]
    wait_until(lambda: len(moments) >= 8)
    for worker in workers:
        worker.stop()
    assert max(moments[:8]) - min(moments[:8]) > 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_it_goes_on_in_a_child_after_a_fork(tmp_path):
    store = SQLiteStore(tmp_path / "sessions.db")
    manager = SessionManager(store)
    manager.purge(every=SHORT)

    def go_on():
        assert any(thread.name == "wsgisessions purge" for thread in threading.enumerate())
        fill(store, 10)
        wait_until(lambda: count(store) <= 1)

    assert exit_code(start_child(go_on)) == 0
    manager._purges[0].stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_stopped_one_stays_so_in_a_child():
    periodic = SessionManager(MemoryStore()).purge(every=timedelta(hours=1))
    periodic.stop()

    def count_threads():
        return sum(thread.name == "wsgisessions purge" for thread in threading.enumerate())

    assert exit_code(start_child(count_threads)) == 0


def count(store):
    with store._connections._borrow() as connection:
        return connection.execute("SELECT count(*) FROM wsgisessions").fetchone()[0]


@pytest.mark.parametrize("every", [timedelta(0), 600, timedelta(seconds=-1)])
def test_a_period_that_makes_no_sense_is_refused(every):
    with pytest.raises(ConfigurationError, match=r"timedelta\(minutes=10\)"):
        SessionManager(MemoryStore()).purge(every=every)
