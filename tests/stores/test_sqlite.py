"""SQLite's own troubles: read-only, locked, corrupt and full files, a missing table, many processes."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from forks import exit_code, start_child

from wsgisessions import ConfigurationError, SessionManager, SQLiteStore, StoreError, StoreUnavailable

SECRET = "the-visitors-secret"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


def save(store, session_id=None, **values):
    session = SessionManager(store).open(session_id)
    session.update(values)
    session.save()
    return session.id


def test_making_a_store_touches_no_file(path):
    SQLiteStore(path)
    assert not path.exists()


def test_the_file_is_readable_by_its_owner_only(path):
    save(SQLiteStore(path), n=1)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_writes_ahead(path):
    save(SQLiteStore(path), n=1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_locked_by_another_process_is_unavailable_and_heals(path):
    store = SQLiteStore(path, timeout=0.2)
    session_id = save(store, n=SECRET)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match="locked") as caught:
        save(store, session_id, n=SECRET + "2")
    assert time.monotonic() - started < 5
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert SECRET not in str(caught.value)
    holder.execute("ROLLBACK")
    holder.close()
    assert save(store, session_id, n=2) == session_id


def test_a_lock_that_is_let_go_in_time_is_waited_for(path):
    store = SQLiteStore(path, timeout=30)
    session_id = save(store, n=1)
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, holder.execute, ["COMMIT"])
    release.start()
    save(store, session_id, n=2)
    release.join()
    holder.close()
    assert SessionManager(store).open(session_id)["n"] == 2


def test_reading_does_not_wait_for_a_writer(path):
    store = SQLiteStore(path, timeout=0.1)
    session_id = save(store, n=1)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert SessionManager(store).open(session_id)["n"] == 1
    holder.close()


def test_a_corrupt_file_is_an_error_that_names_it(path):
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match=r"sessions\.db") as caught:
        save(SQLiteStore(path), n=SECRET)
    assert not isinstance(caught.value, StoreUnavailable)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert SECRET not in str(caught.value)


def test_a_missing_folder_is_an_error_that_names_it(path):
    with pytest.raises(StoreError, match=r"the folder .*absent.* does not exist") as caught:
        save(SQLiteStore(path.parent / "absent" / "sessions.db"), n=1)
    assert not isinstance(caught.value, StoreUnavailable)


def test_a_missing_table_is_an_error_that_names_setup(path):
    store = SQLiteStore(path)
    session_id = save(store, n=1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE wsgisessions")
    with pytest.raises(StoreError, match=r"call SQLiteStore.setup\(\)"):
        save(store, session_id, n=2)
    store.setup()
    assert save(store, n=3)


def test_a_full_disk_is_unavailable_and_leaves_the_stored_session_intact(path):
    store = SQLiteStore(path)
    session_id = save(store, n=1)
    used = sum(file.stat().st_size for file in path.parent.iterdir())
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (used, limits[1]))
    try:
        with pytest.raises(StoreUnavailable) as caught:
            save(store, session_id, n=2, big=SECRET * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert SECRET not in str(caught.value)
    assert dict(SessionManager(store).open(session_id)) == {"n": 1}
    save(store, session_id, n=3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_read_only_file_is_an_error(tmp_path):
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == os.getuid():
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    path = tmp_path / "sessions.db"
    store = SQLiteStore(path)
    session_id = save(store, n=1)
    store.close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)

    def write():
        if os.geteuid() == 0:
            # Root may write to any file, so the child becomes nobody.
            os.setgid(65534)
            os.setuid(65534)
        with pytest.raises(StoreError, match=r"sessions\.db") as caught:
            save(store, session_id, n=SECRET)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert SECRET not in str(caught.value)

    try:
        assert exit_code(start_child(write)) == 0
    finally:
        tmp_path.chmod(0o755)


def test_many_threads_may_set_a_new_file_up_at_once(path):
    stores = [SQLiteStore(path) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda store: save(store, n=1), stores))) == 16


SET_UP = "import sys; from wsgisessions import SQLiteStore; SQLiteStore(sys.argv[1], timeout=30).setup()"


def test_many_processes_may_set_a_new_file_up_at_once(path):
    workers = [subprocess.Popen([sys.executable, "-c", SET_UP, str(path)]) for _ in range(8)]
    assert [worker.wait() for worker in workers] == [0] * 8
    save(SQLiteStore(path), n=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_uses_and_closes_none_of_its_parents_connections(path):
    store = SQLiteStore(path)
    session_id = save(store, n=1)

    def write():
        save(store, session_id, child=1)
        store.close()

    assert exit_code(start_child(write)) == 0
    save(store, session_id, parent=1)
    assert dict(SessionManager(store).open(session_id)) == {"n": 1, "child": 1, "parent": 1}


@pytest.mark.parametrize("path", [":memory:", ""])
def test_a_path_that_connections_cannot_share_is_refused(path):
    with pytest.raises(ConfigurationError, match=r"MemoryStore\(\)"):
        SQLiteStore(path)


def delete_file(path):
    for each in path.parent.glob("sessions.db*"):
        each.unlink()


def test_a_file_that_was_deleted_has_logged_everybody_out(path):
    store, other = SQLiteStore(path), SQLiteStore(path)
    session_id = save(store, n=1)
    assert SessionManager(other).open(session_id)["n"] == 1
    delete_file(path)
    assert SessionManager(store).open(session_id).is_new
    assert SessionManager(other).open(session_id).is_new
    session_id = save(other, n=2)
    assert SessionManager(store).open(session_id)["n"] == 2


def test_a_connection_that_was_in_use_when_its_file_was_deleted_is_not_used_again(path):
    store = SQLiteStore(path)
    session_id = save(store, n=1)
    with store._connections._borrow():
        delete_file(path)
        assert SessionManager(store).open(session_id).is_new
    store._connections._idle.pop().close()
    assert SessionManager(store).open(session_id).is_new


def test_what_a_deleted_file_left_beside_it_is_not_used(path):
    store, other = SQLiteStore(path), SQLiteStore(path)
    session_id = save(store, n=1)
    assert SessionManager(other).open(session_id)["n"] == 1
    leftovers = {each.name: each.stat().st_ino for each in path.parent.glob("sessions.db-*")}
    kept = [each.open("rb") for each in path.parent.glob("sessions.db-*")]  # or their numbers are given again
    assert leftovers.keys() == {"sessions.db-shm", "sessions.db-wal"}
    with store._connections._borrow():
        path.unlink()
        assert SessionManager(other).open(session_id).is_new
    found = {each.name: each.stat().st_ino for each in path.parent.glob("sessions.db-*")}
    assert found.keys() == leftovers.keys()
    assert not set(found.values()) & set(leftovers.values())
    for each in kept:
        each.close()


def test_a_file_deleted_while_it_is_set_up_is_noticed(path, monkeypatch):
    store = SQLiteStore(path)
    set_up = store._connections._set_up_by

    def delete_after(connection):
        set_up(connection)
        delete_file(path)
        monkeypatch.undo()

    monkeypatch.setattr(store._connections, "_set_up_by", delete_after)
    lost = save(store, n=1)
    assert SessionManager(store).open(lost).is_new
    kept = save(store, n=2)
    assert SessionManager(SQLiteStore(path)).open(kept)["n"] == 2


def test_a_url_is_for_open_store():
    with pytest.raises(ConfigurationError, match=r"open_store\(url\)"):
        SQLiteStore("sqlite:///sessions.db")


def test_every_statement_uses_an_index(path):
    from wsgisessions.stores import sqlite

    SQLiteStore(path).setup()
    connection = sqlite3.connect(path)
    for statement in (
        sqlite._LOAD,
        sqlite._PATCH,
        sqlite._DELETE,
        sqlite._DELETE_EXPIRED,
        sqlite._FIND,
        sqlite._ACQUIRE,
    ):
        parameters = dict.fromkeys(("id_hash", "new_id_hash", "patch", "expires_at", "owner", "now", "token", "until"))
        arguments = parameters if ":id_hash" in statement else (None,) * statement.count("?")
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", arguments))
        assert "USING" in plan
        assert "SCAN" not in plan.replace("SCAN json_each", "")
    connection.close()
