"""What MySQL and MariaDB promise beyond the contract: names, setup, connections of one's own, SQL for both."""

import subprocess
import sys

import pymysql
import pytest
from pymysql.constants import CLIENT
from pymysql.cursors import DictCursor

from wsgisessions import ConfigurationError, MySQLStore, Outcome, Patch, StoreError, StoreUnavailable
from wsgisessions.stores import mysql


@pytest.fixture
def url(server_url):
    return server_url("mysql")


@pytest.fixture
def connect(url):
    """Return a function that connects as a user's would."""
    credentials, _, host = url.removeprefix("mysql://").partition("/")[0].partition("@")
    user, _, password = credentials.partition(":")
    name, _, port = host.partition(":")

    def connect(**options):
        return pymysql.connect(host=name, port=int(port), user=user, password=password, database="sessions", **options)

    return connect


def test_making_a_store_connects_to_nothing():
    MySQLStore("mysql://nowhere/nothing")


def test_names_are_quoted(open_fresh, url, make_id_hash, make_record):
    for table in ("table `with` %s and {table}; --", "sessions.in another place"):
        store = open_fresh("mysql", url, table=table)
        id_hash = make_id_hash()
        assert store.create(id_hash, make_record({"a": "1"}, owner="ann"))
        assert store.rename(id_hash, make_id_hash(), Patch(set={"a": "2"}, expect={"a": "1"})) is Outcome.DONE
        assert store.delete_owner("ann") == 1


def test_sixteen_processes_may_set_up_at_once(url, make_id_hash):
    code = (
        "import sys; from wsgisessions import MySQLStore;"
        "store = MySQLStore(sys.argv[1], table=sys.argv[2]); sys.stdin.read(1); store.setup(); store.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, f"sessions_{make_id_hash()[:8]}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(16)
    ]
    for process in processes:
        process.stdin.write(b"x")
        process.stdin.flush()
    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 16


def test_a_function_that_connects_serves(connect, open_fresh, make_id_hash, make_record):
    store = open_fresh("mysql", lambda: connect(autocommit=True, client_flag=CLIENT.FOUND_ROWS))
    id_hash = make_id_hash()
    assert store.create(id_hash, make_record({"a": "1"}))
    assert store.update(id_hash, Patch(set={"a": "1"})) is Outcome.DONE


def test_a_function_may_give_connections_with_another_cursor(connect, open_fresh, make_id_hash, make_record):
    options = {"autocommit": True, "client_flag": CLIENT.FOUND_ROWS, "cursorclass": DictCursor}
    store = open_fresh("mysql", lambda: connect(**options))
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1"}, owner="ann"))
    assert store.load(id_hash).fields == {"a": "1"}
    assert [found for found, _ in store.find("ann")] == [id_hash]


@pytest.mark.parametrize("options", [{"autocommit": True}, {"client_flag": CLIENT.FOUND_ROWS}])
def test_a_function_whose_connections_would_mislead_is_refused(options, connect, open_fresh):
    store = open_fresh("mysql", lambda: connect(**options), setup=False)
    with pytest.raises(ConfigurationError, match=r"autocommit=True and client_flag=CLIENT\.FOUND_ROWS"):
        store.load("id_hash")


def test_owners_are_told_apart_by_every_byte_and_bounded(open_fresh, url, make_id_hash, make_record):
    store = open_fresh("mysql", url)
    owners = ["ann", "Ann", "ann ", "änn", "a\u0308nn"]
    for owner in owners:
        store.create(make_id_hash(), make_record(owner=owner))
    assert [len(list(store.find(owner))) for owner in owners] == [1] * 5
    with pytest.raises(StoreError, match="1024 bytes at most; got 1026"):
        store.create(make_id_hash(), make_record(owner="é" * 513))


def test_when_all_connections_are_in_use_the_error_says_so(url, open_fresh):
    store = open_fresh("mysql", url, max_connections=1, timeout=0.2)
    held = store._connections._borrow()
    with pytest.raises(StoreUnavailable, match="raise max_connections"):
        store.load("id_hash")
    held.close()
    assert store.load("id_hash") is None


def test_an_update_that_was_given_up_is_not_applied_later(url, connect, open_fresh, make_id_hash, make_record):
    store = open_fresh("mysql", url, table="locked", timeout=2)
    id_hash = make_id_hash()
    store.create(id_hash, make_record({"a": "1"}))
    with connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT 1 FROM locked WHERE id_hash = %s FOR UPDATE", [id_hash])
        with pytest.raises(StoreUnavailable):
            store.update(id_hash, Patch(set={"a": "2"}))
        cursor.execute("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        assert cursor.fetchone() == (0,)
        other.rollback()
    assert store.load(id_hash).fields == {"a": "1"}


def test_no_statement_is_for_mariadb_alone():
    """What MySQL 8 lacks of MariaDB's SQL, and what it is about to lose."""
    statements = " ".join(
        value for name, value in vars(mysql).items() if name.startswith("_") and isinstance(value, str)
    ).upper()
    assert "JSON_MERGE_PATCH" in statements
    for word in ("RETURNING", "JSON_VALUE(", "JSON_QUERY", "VALUES(", "CREATE OR REPLACE", "SEQUENCE", "UUID ", "INET"):
        assert word not in statements


@pytest.mark.parametrize(
    ("server", "options", "message"),
    [
        (object(), {}, "takes a mysql:// URL or a function that returns a PyMySQL connection; got object"),
        ("mysql://host", {}, "mysql://user:password@host:3306/database"),
        ("mysql://host:port/database", {}, "mysql://user:password@host:3306/database"),
        ("mysql://user:pa[ss@host/database", {}, "with %XX for what is special in the password"),
        ("mysql://host/database?charset=latin1", {}, "ssl_ca.* only; got charset"),
        ("mysql://host/database", {"timeout": 0}, "in seconds, above 0; got 0"),
        ("mysql://host/database", {"max_connections": 0}, "1 or more; got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(server, options, message):
    with pytest.raises(ConfigurationError, match=message):
        MySQLStore(server, **options)


def test_a_name_that_no_patch_could_change_is_damage(url, connect, open_fresh, make_id_hash, make_record):
    store, id_hash = open_fresh("mysql", url, table="damaged_names"), make_id_hash()
    store.create(id_hash, make_record({"n": "1"}))
    with connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE damaged_names SET fields = %s WHERE id_hash = %s", ('{"%6E": "2"}', id_hash))
        assert store.load(id_hash) is None
        cursor.execute("DROP TABLE damaged_names")
