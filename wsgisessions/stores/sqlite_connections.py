"""A process's connections to a SQLite file: a stack of idle ones, of which each call borrows one."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..forking import call_after_fork, notice_fork

if sys.platform != "win32":
    import fcntl

Parameters = Sequence[Any] | dict[str, Any]
T = TypeVar("T")

_FIRST_PAUSE = 0.0001
_LONGEST_PAUSE = 0.01

_TRANSIENT = ("locked", "busy", "full", "unable to open", "i/o error")


class SQLiteConnections:
    """Executes statements on a file that is made, with its tables, at the first use.

    :param schema: the statements that make the tables where they are absent.
    :raises ConfigurationError: the path is none that several connections could share.
    """

    def __init__(self, path: str, schema: Sequence[str], *, timeout: float) -> None:
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[list[sqlite3.Connection]] = []
        self._lock = threading.Lock()
        if path.startswith("sqlite:"):
            raise ConfigurationError("SQLiteStore takes a file's name; for a URL write open_store(url)")
        if not path or path == ":memory:":
            raise ConfigurationError(
                "SQLiteStore needs a file that its connections share; for memory use MemoryStore()"
            )
        self._path = path
        self._schema = schema
        self._timeout = timeout
        self._is_set_up = False
        self._file: tuple[int, int] | None = None
        call_after_fork(self, type(self)._leave_to_parent)

    def query(self, statement: str, parameters: Parameters, read: Callable[[sqlite3.Cursor], T]) -> T:
        """Execute a statement, and return what `read` takes from its result.

        :raises StoreError: SQLite's own error is its cause.
        """
        with self._borrow() as connection:
            return read(self._execute(connection, statement, parameters))

    def set_up(self) -> None:
        """Make the tables where they are absent."""
        with self._borrow() as connection:
            self._set_up_by(connection)

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            self._is_set_up = False  # for what has the file's place when it is opened again
            self._close_idle()

    def __del__(self) -> None:
        self.close()

    def _execute(self, connection: sqlite3.Connection, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Execute a statement, and again while another connection is writing, for `timeout` seconds.

        SQLite's own waiting sleeps for a millisecond at least, in which a rival commits many times, does
        not cover the switch of a new file to WAL, and stops every greenlet of a gevent worker.
        """
        give_up_at = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                return connection.execute(statement, parameters)
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or time.monotonic() > give_up_at:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- jitter guards no secret
            pause = min(pause * 2, _LONGEST_PAUSE)

    @contextmanager
    def _borrow(self) -> Iterator[sqlite3.Connection]:
        notice_fork()
        try:
            if _identify(self._path) != self._file:
                self._notice_another_file()
            idle = self._idle
            try:
                connection = idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            except BaseException:
                # It may be broken for good; the next call opens another.
                connection.close()
                raise
            if self._idle is idle:
                idle.append(connection)
            else:
                connection.close()
        except sqlite3.Error as error:
            raise _explain(error, self._path) from error

    def _connect(self) -> sqlite3.Connection:
        with suppress(OSError):
            _make_file(Path(self._path).resolve())
        file = _identify(self._path)
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._execute(connection, "PRAGMA synchronous = NORMAL")
            with self._lock:
                if not self._is_set_up:
                    self._set_up_by(connection)
                    self._file, self._is_set_up = file, True
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up_by(self, connection: sqlite3.Connection) -> None:
        for statement in ("PRAGMA journal_mode = WAL", *self._schema):
            self._execute(connection, statement)

    def _notice_another_file(self) -> None:
        """Let go of connections to a file that was deleted or replaced, as to log everybody out."""
        with self._lock:
            self._file = _identify(self._path)
            self._is_set_up = False
            self._close_idle()

    def _close_idle(self) -> None:
        connections, self._idle = self._idle, []
        # Another thread may be taking one at this moment.
        with suppress(IndexError):
            while True:
                connections.pop().close()

    def _leave_to_parent(self) -> None:
        # SQLite forbids using, and even closing, a connection on the other side of a fork.
        self._inherited.append(self._idle)
        self._idle = []
        self._lock = threading.Lock()


def _make_file(path: Path) -> None:
    """Make the file where it is absent, readable by its owner only.

    What a deleted one has left beside it goes first: connections to the deleted one may be using it. Nobody else makes
    the file meanwhile, and so nobody has put there yet what belongs to this one.
    """
    if path.exists():
        return
    with _locked(path.parent):
        if not path.exists():
            for ending in ("-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Be the only process in here; on Windows it does not matter, for there nobody deletes a file that is open."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 -- at each call, and a Path takes twice as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_locked(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _explain(error: sqlite3.Error, path: str) -> StoreError:
    text = str(error)
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        return StoreError(f"the folder {folder} of SQLiteStore's file does not exist")
    if "no such table" in text:
        return StoreError(f"the table of sessions is missing from {path}; call SQLiteStore.setup()")
    if isinstance(error, sqlite3.OperationalError) and any(each in text.lower() for each in _TRANSIENT):
        return StoreUnavailable(f"SQLite cannot serve {path} now: {text}")
    return StoreError(f"SQLite failed on {path}: {text}")
