"""Servers that die, hang, hang up, refuse, lose their table or are full: nothing is lost, and nothing hangs."""

import ctypes
import os
import runpy
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from forks import exit_code, start_child
from servers import PASSWORD, MariaDB, MongoDB, Postgres, Redis, wait_until

from wsgisessions import Outcome, Patch, SessionManager, StoreError, StoreUnavailable

SERVERS = {"redis": Redis, "postgres": Postgres, "mysql": MariaDB, "mongodb": MongoDB}
DURABLE = {"redis": ["--appendonly", "yes", "--appendfsync", "always"], "mongodb": MongoDB.durable_options()}
SECRET = "the-visitors-secret"

write_keys = runpy.run_path(str(Path(__file__).parents[1] / "writers.py"))["write_keys"]


@pytest.fixture
def server(kind, server_url):
    """Yield a server of its own that a test may maltreat."""
    server_url(kind)
    with SERVERS[kind](*DURABLE.get(kind, ())) as server:
        yield server


@pytest.fixture
def store(kind, server, open_fresh):
    return open_fresh(kind, server.url, timeout=1)


@pytest.fixture
def id_hash(store, make_id_hash, make_record):
    """Return the ID hash of a stored session."""
    id_hash = make_id_hash()
    assert store.create(id_hash, make_record({"secret": SECRET}))
    return id_hash


def assert_keeps_secrets(error, caplog):
    told = "".join(traceback.format_exception(error)) + caplog.text
    assert SECRET not in told
    assert PASSWORD not in told
    assert error.__cause__ is not None


def works(store, id_hash):
    with suppress(StoreUnavailable):
        return store.update(id_hash, Patch(set={"works": "1"})) is Outcome.DONE


def test_what_was_acknowledged_survives_kill_9(server, store, id_hash):
    acknowledged = [0] * 4
    busy = threading.Barrier(5, timeout=60)

    def write(writer):
        number = 0
        while True:
            number += 1
            if number == 5:
                busy.wait()
            try:
                outcome = store.update(id_hash, Patch(set={f"writer {writer}": str(number)}))
            except StoreUnavailable:
                if number < 5:
                    continue  # a busy machine: nobody has killed the server yet
                return number
            assert outcome is Outcome.DONE
            acknowledged[writer] = number

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, writer) for writer in range(4)]
        busy.wait()
        server.kill()
        tried = [writer.result() for writer in writers]
    server.start()
    wait_until(lambda: works(store, id_hash))
    fields = store.load(id_hash).fields
    assert fields["secret"] == SECRET
    for writer in range(4):
        assert acknowledged[writer] <= int(fields[f"writer {writer}"]) <= tried[writer]


def test_a_server_that_hangs_is_unavailable_until_it_goes_on(server, store, id_hash, caplog):
    with server.paused():
        for call in (lambda: store.load(id_hash), lambda: store.update(id_hash, Patch(set={"secret": SECRET + "2"}))):
            with pytest.raises(StoreUnavailable) as caught:
                call()
            assert_keeps_secrets(caught.value, caplog)
    wait_until(lambda: works(store, id_hash))


def test_a_server_that_is_down_is_unavailable_until_it_is_back(server, store, id_hash, caplog):
    server.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable) as caught:
            store.update(id_hash, Patch(set={"secret": SECRET + "2"}))
        assert_keeps_secrets(caught.value, caplog)
    server.start()
    wait_until(lambda: works(store, id_hash))


def test_connections_that_the_server_closed_are_replaced_unnoticed(kind, server, store, id_hash):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.load(id_hash), range(40)))
    server.hang_up()
    assert store.update(id_hash, Patch(set={"a": "1"}, expect={"a": None})) is Outcome.DONE
    server.hang_up()
    assert store.load(id_hash).fields == {"secret": SECRET, "a": "1"}


def test_a_refused_login_is_an_error_that_no_retry_helps(kind, server, open_fresh, caplog, make_id_hash, make_record):
    server.demand_login()
    store = open_fresh(kind, server.url_with("wrong-password"), setup=False, timeout=1)
    with pytest.raises(StoreError, match="refused") as caught:
        store.create(make_id_hash(), make_record({"secret": SECRET}))
    assert not isinstance(caught.value, StoreUnavailable)
    assert_keeps_secrets(caught.value, caplog)
    assert "wrong-password" not in str(caught.value)


@pytest.mark.parametrize("kind", ["postgres", "mysql", "mongodb"])
def test_a_dropped_table_is_an_error_that_names_setup(kind, server_url, open_fresh, make_id_hash, make_record, caplog):
    store = open_fresh(kind, server_url(kind), timeout=1)
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"secret": SECRET}))
    drop(kind, store)
    reading = [lambda: store.load(id_hash)]
    if kind == "mongodb":
        # To read from an absent collection is no error of MongoDB's.
        assert reading.pop()() is None
    for call in (
        *reading,
        lambda: store.update(id_hash, Patch(set={"secret": SECRET + "2"})),
        lambda: store.create(make_id_hash(), make_record({"secret": SECRET})),
    ):
        with pytest.raises(StoreError, match=r"call \w+\.setup\(\)") as caught:
            call()
        assert_keeps_secrets(caught.value, caplog)
    store.setup()
    assert store.create(id_hash, make_record())


def drop(kind, store):
    if kind == "mongodb":
        with store._collection() as collection:
            collection.drop()
    else:
        store._execute("DROP TABLE {table}", {})


def test_a_full_redis_is_unavailable_and_keeps_what_it_has(make_id_hash, make_record, server_url, open_fresh, caplog):
    server_url("redis")
    with Redis("--maxmemory-policy", "noeviction") as server:
        store = open_fresh("redis", server.url)
        id_hash = make_id_hash()
        store.create(id_hash, make_record({"secret": SECRET, "b": "1"}, owner="ann"))
        server.run("CONFIG", "SET", "maxmemory", "1mb")
        patch = Patch(set={"secret": SECRET + "2"}, remove={"b"}, owner="bob")
        for call in (
            lambda: store.update(id_hash, patch),
            lambda: store.rename(id_hash, make_id_hash(), patch),
            lambda: store.create(make_id_hash(), make_record({"secret": SECRET}, owner="ann")),
        ):
            with pytest.raises(StoreUnavailable, match="full") as caught:
                call()
            assert_keeps_secrets(caught.value, caplog)
        record = store.load(id_hash)
        assert (record.fields, record.owner) == ({"secret": SECRET, "b": "1"}, "ann")
        assert [found for found, _ in store.find("ann")] == [id_hash]
        assert store.delete(id_hash)
        server.run("CONFIG", "SET", "maxmemory", "0")
        assert store.create(id_hash, make_record())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_store_made_and_used_before_a_fork_mixes_up_no_replies(kind, server_url, open_fresh):
    share_with_children(open_fresh(kind, server_url(kind), timeout=30), os.fork)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_that_python_is_not_told_of_mixes_up_no_replies(server_url, open_fresh):
    # uWSGI's is one: it calls C's function, and no hooks of Python's unless it has --py-call-osafterfork.
    def fork():
        # With a thread in the middle of taking Python's own lock, the child would wait for that thread for ever.
        time.sleep(0.2)
        return ctypes.PyDLL(None).fork()

    share_with_children(open_fresh("postgres", server_url("postgres"), timeout=30), fork)


def share_with_children(store, fork):
    session = SessionManager(store).open()
    session["start"] = True
    session.save()
    writes = [partial(write_keys, store, session.id, f"child {child}", 50) for child in range(4)]
    children = [start_child(write, fork) for write in writes]
    assert write_keys(store, session.id, "parent", 50) == 0
    assert [exit_code(child) for child in children] == [0] * 4
    assert len(SessionManager(store).open(session.id)) == 5 * 10 + 1


@pytest.mark.parametrize("kind", ["redis_cluster", "redis_sentinel"])
def test_after_a_failover_requests_work_again(kind, server_url, open_fresh, make_id_hash, make_record, record_property):
    from servers import KINDS

    server_url("redis")
    with KINDS[kind]() as group:
        store = open_fresh("redis", group.url, timeout=1)
        id_hashes = [make_id_hash() for _ in range(20)]
        for id_hash in id_hashes:
            assert store.create(id_hash, make_record({"n": "0"}, owner="ann"))
        acknowledged = dict.fromkeys(id_hashes, 0)
        for number in range(1, 20):
            for id_hash in id_hashes:
                assert store.update(id_hash, Patch(set={"n": str(number)})) is Outcome.DONE
                acknowledged[id_hash] = number
        group.servers[0].kill()
        try:
            wait_until(lambda: all(works(store, id_hash) for id_hash in id_hashes), seconds=120)
        except TimeoutError as error:
            raise AssertionError("\n".join(server.log() for server in group.servers)) from error
        # Replication is asynchronous: what the master had acknowledged and not yet sent is lost with it.
        lost = sum(number > int(store.load(id_hash).fields["n"]) for id_hash, number in acknowledged.items())
        record_property("acknowledged writes lost in the failover", lost)
        assert lost <= len(id_hashes)
        assert store.rename(id_hashes[0], make_id_hash(), Patch()) is Outcome.DONE
        assert store.delete_owner("ann") == len(id_hashes)
