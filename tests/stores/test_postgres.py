"""What PostgreSQL promises beyond the contract: names, setup, PgBouncer, pools, and a table that does not bloat."""

import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from psycopg import ClientCursor
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool
from servers import wait_until

from wsgisessions import ConfigurationError, Outcome, Patch, PostgresStore, StoreError, StoreUnavailable
from wsgisessions.record import utc_now

HOUR = timedelta(hours=1)


@pytest.fixture
def url(server_url):
    return server_url("postgres")


@pytest.fixture
def connection(url):
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def name(make_id_hash):
    return f"sessions_{make_id_hash()[:8]}"


def test_making_a_store_connects_to_nothing():
    PostgresStore("postgresql://nowhere/nothing")


def test_names_are_quoted(url, connection, make_id_hash, make_record):
    names = {"schema": 'my "odd" %s schema', "table": "table; -- {table} %(id_hash)s"}
    store = PostgresStore(url, **names)
    store.setup()
    id_hash = make_id_hash()
    assert store.create(id_hash, make_record({"a": "1"}, owner="ann"))
    assert store.rename(id_hash, make_id_hash(), Patch(set={"a": "2"}, expect={"a": "1"})) is Outcome.DONE
    assert store.delete_owner("ann") == 1
    store.close()
    rows = connection.execute(
        "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = %s", [*names.values()]
    )
    assert rows.fetchone() == (1,)


def test_sixteen_processes_may_set_up_at_once(url, name):
    code = (
        "import sys; from wsgisessions import PostgresStore;"
        "store = PostgresStore(sys.argv[1], schema=sys.argv[2]); sys.stdin.read(1); store.setup(); store.close()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, url, name], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(16)
    ]
    for process in processes:
        process.stdin.write(b"x")
        process.stdin.flush()
    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 16


def test_prepared_statements_can_be_switched_off(url, open_fresh, make_id_hash, make_record):
    for prepare, count in ((True, 1), (False, 0)):
        store = open_fresh("postgres", url, prepare=prepare)
        id_hash = make_id_hash()
        store.create(id_hash, make_record())
        for _ in range(20):
            store.load(id_hash)
        with store._connections.borrow() as connection:
            assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (count,)


def test_pgbouncer_in_transaction_mode_needs_them_switched_off(server_url, open_fresh, make_id_hash, make_record):
    url = server_url("pgbouncer")
    store = open_fresh("postgres", url, prepare=False)
    id_hashes = [make_id_hash() for _ in range(8)]

    def use(id_hash):
        assert store.create(id_hash, make_record({"n": "0"}))
        for number in range(1, 50):
            patch = Patch(set={"n": str(number)}, expect={"n": str(number - 1)})
            assert store.update(id_hash, patch) is Outcome.DONE
            assert store.load(id_hash).fields == {"n": str(number)}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, id_hashes))
        preparing = open_fresh("postgres", url)
        with pytest.raises(StoreError, match="prepare=False"):
            list(pool.map(lambda id_hash: [preparing.load(id_hash) for _ in range(50)], id_hashes))


def test_an_unlogged_table(url, open_fresh, name, connection):
    open_fresh("postgres", url, table=name, unlogged=True)
    assert connection.execute("SELECT relpersistence FROM pg_class WHERE relname = %s", [name]).fetchone() == ("u",)


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_ready_made_pool_serves(autocommit, url, name, make_id_hash, make_record):
    with ConnectionPool(url, min_size=1, max_size=2, kwargs={"autocommit": autocommit}, open=True) as pool:
        store = PostgresStore(pool, table=name)
        store.setup()
        id_hash = make_id_hash()
        assert store.create(id_hash, make_record({"a": "1"}))
        assert store.create(id_hash, make_record({"a": "2"})) is False
        with pytest.raises(StoreError):
            PostgresStore(pool, table="absent").load(id_hash)
        assert store.update(id_hash, Patch(set={"b": "2"})) is Outcome.DONE
        store.close()
        assert store.load(id_hash).fields == {"a": "1", "b": "2"}


@pytest.mark.parametrize("options", [{"row_factory": dict_row}, {"cursor_factory": ClientCursor}])
def test_a_ready_made_pool_may_have_other_rows_and_cursors(options, url, name, make_id_hash, make_record):
    with ConnectionPool(url, min_size=1, max_size=2, kwargs={"autocommit": True, **options}, open=True) as pool:
        store = PostgresStore(pool, table=name)
        store.setup()
        id_hash = make_id_hash()
        assert store.create(id_hash, make_record({"a": "1"}, owner="ann"))
        assert store.load(id_hash).fields == {"a": "1"}
        assert [found for found, _ in store.find("ann")] == [id_hash]
        assert store.delete_expired() == 0


def test_connections_that_cannot_hold_every_text_are_refused(url, name, make_id_hash, make_record):
    options = {"autocommit": True, "client_encoding": "latin1"}
    with ConnectionPool(url, min_size=1, max_size=2, kwargs=options, open=True) as pool:
        store = PostgresStore(pool, table=name)
        store.setup()
        with pytest.raises(StoreError, match="client_encoding=utf8") as caught:
            store.create(make_id_hash(), make_record({"a": "\N{SNOWMAN}"}))
    assert "UnicodeEncodeError" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_writers_of_different_fields_survive_any_isolation(level, url, open_fresh, make_id_hash, make_record):
    isolated = f"{url}?options=-c%20default_transaction_isolation%3D{level.replace(' ', '%5C%20')}"
    store, id_hash = open_fresh("postgres", isolated), make_id_hash()
    store.create(id_hash, make_record())

    def write(writer):
        for number in range(20):
            assert store.update(id_hash, Patch(set={f"{writer}.{number}": "1"})) is Outcome.DONE

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    assert len(store.load(id_hash).fields) == 80


def test_a_ready_made_pool_is_refused_after_a_fork(url):
    code = (
        "import os, sys; from psycopg_pool import ConnectionPool; from wsgisessions import PostgresStore, StoreError\n"
        "with ConnectionPool(sys.argv[1], min_size=1, open=True) as pool:\n"
        "    store = PostgresStore(pool)\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try:\n"
        "            store.load('x')\n"
        "        except StoreError as error:\n"
        "            os._exit(0 if 'give PostgresStore the URL' in str(error) else 1)\n"
        "        os._exit(2)\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code, url]).returncode == 0


def test_when_all_connections_are_in_use_the_error_says_so(url, open_fresh):
    store = open_fresh("postgres", url, max_connections=1, timeout=0.2)
    with store._connections.borrow(), pytest.raises(StoreUnavailable, match="raise max_connections"):
        store.load("id_hash")
    assert store.load("id_hash") is None


def test_an_update_that_was_given_up_is_not_applied_later(url, open_fresh, name, connection, make_id_hash, make_record):
    store = open_fresh("postgres", url, table=name, timeout=1)
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1"}))
    with psycopg.connect(url) as other:
        other.execute(f"SELECT 1 FROM {name} WHERE id_hash = %s FOR UPDATE", [id_hash])  # noqa: S608
        with pytest.raises(StoreUnavailable):
            store.update(id_hash, Patch(set={"a": "2"}))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%' || %s || '%%'"
        )
        # The server may take a moment to cancel it; the row stays locked meanwhile.
        wait_until(lambda: connection.execute(waiting, [name]).fetchone() == (0,))
    assert store.load(id_hash).fields == {"a": "1"}


def test_touching_grows_neither_the_table_nor_its_indexes(url, open_fresh, name, connection, make_id_hash, make_record):
    store = open_fresh("postgres", url, table=name)
    id_hashes = [make_id_hash() for _ in range(20)]
    for id_hash in id_hashes:
        store.create(id_hash, make_record({"a": "x" * 300}, owner="ann"))

    def sizes():
        relations = [name, f"{name}_pkey", f"{name}_purge_at", f"{name}_owner"]
        return [connection.execute("SELECT pg_relation_size(%s)", [each]).fetchone()[0] for each in relations]

    before = sizes()
    for number in range(100):
        for id_hash in id_hashes:
            store.update(id_hash, Patch(expires_at=utc_now() + HOUR * (2 + number)))
    with store._connections.borrow() as own:
        own.execute("SELECT pg_stat_force_next_flush()")
    updates, hot = connection.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s", [name]
    ).fetchone()
    assert updates == 2000
    assert hot / updates > 0.9
    assert [after - was for after, was in zip(sizes()[1:], before[1:], strict=True)] == [0, 0, 0]
    assert sizes()[0] <= before[0] + 4 * 8192


def test_purging_passes_over_the_touched_and_finds_them_later(url, name, clock, make_id_hash):
    from wsgisessions import Record

    store = PostgresStore(url, table=name, clock=clock)
    store.setup()
    touched, others = make_id_hash(), [make_id_hash() for _ in range(5)]
    for id_hash in (touched, *others):
        store.create(id_hash, Record({}, clock(), clock(), clock() + HOUR))
    store.update(touched, Patch(expires_at=clock() + 3 * HOUR))
    clock.advance(2 * HOUR)
    assert [store.delete_expired(limit=1) for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert store.load(touched) is not None
    clock.advance(2 * HOUR)
    assert [store.delete_expired() for _ in range(2)] == [1, 0]
    store.close()


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        (object(), {}, "takes a postgresql:// URL or a psycopg_pool.ConnectionPool; got object"),
        ("postgresql://user:pa%ss@host/database", {}, "with %XX for what is special in the password"),
        ("postgresql://host", {"table": "t" * 55}, "54 bytes at most"),
        ("postgresql://host", {"timeout": 0}, "in seconds, above 0; got 0"),
        ("postgresql://host", {"max_connections": 0}, "1 or more; got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(server, options, message):
    with pytest.raises(ConfigurationError, match=message):
        PostgresStore(server, **options)
