"""A process's connections to PostgreSQL: from a pool of the store's own, or one that was there already."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, cast

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..forking import OnePerProcess

Cursor = psycopg.Cursor[tuple[Any, ...]]

_CANCEL_SECONDS = 1.0
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")


class PostgresConnections:
    """Lends connections that work, each for one statement.

    :raises ConfigurationError: the server is neither a URL that can be read nor a pool.
    """

    def __init__(self, server: object, *, prepare: bool, max_connections: int, timeout: float) -> None:
        self._prepare = prepare
        self._max_connections = max_connections
        self._timeout = timeout
        self._conninfo = server if isinstance(server, str) else None
        if isinstance(server, str):
            try:
                conninfo_to_dict(server)
            except (psycopg.ProgrammingError, ValueError):
                # The cause would quote a part of the password.
                raise ConfigurationError(
                    "a PostgreSQL URL is postgresql://user:password@host:5432/database, with %XX for what is"
                    " special in the password"
                ) from None
            self._pools = OnePerProcess(lambda: self._open_pool(server))
        elif callable(getattr(server, "getconn", None)):
            self._pools = OnePerProcess(_only_here(cast("ConnectionPool[Any]", server)))
        else:
            raise ConfigurationError(
                f"PostgresStore takes a postgresql:// URL or a psycopg_pool.ConnectionPool; got {type(server).__name__}"
            )

    @contextmanager
    def borrow(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection, and turn what the driver raises meanwhile into a `StoreError`."""
        try:
            pool = self._pools.get()
            with self._turn(pool):
                connection = self._take(pool)
                try:
                    yield connection
                    if not connection.autocommit:
                        connection.commit()
                except Exception as error:
                    if isinstance(error, errors.ReadOnlySqlTransaction):
                        connection.close()  # the server has become a standby; its successor is elsewhere
                    elif not connection.closed:
                        connection.rollback()
                    raise
                except BaseException:
                    connection.close()
                    raise
                finally:
                    pool.putconn(connection)
        except psycopg.Error as error:
            raise _explain(error) from error
        except UnicodeEncodeError:
            # It holds what could not be sent.
            raise StoreError("PostgresStore needs connections with client_encoding=utf8") from None

    @contextmanager
    def _turn(self, pool: ConnectionPool[Any]) -> Iterator[None]:
        """Wait while all connections are in use.

        Here and not in the pool: if the wait is interrupted, as that of a greenlet that is killed, the pool gives a
        connection to nobody and misses it for ever.
        """
        if not isinstance(pool, _Pool):
            yield
            return
        try:
            pool.turns.get(timeout=self._timeout)
        except Empty as error:
            raise self._explain_timeout(error) from error
        try:
            yield
        finally:
            pool.turns.put(None)

    def _take(self, pool: ConnectionPool[Any]) -> psycopg.Connection[Any]:
        while True:
            try:
                connection: psycopg.Connection[Any] = pool.getconn(self._timeout)
            except PoolTimeout as error:
                raise self._explain_timeout(error) from error
            except Exception:
                raise
            except BaseException:
                # Interrupted while the pool was opening a connection, which it may miss for ever.
                if self._conninfo is not None:
                    self._pools.drop(pool)
                raise
            try:
                if not _is_stale(connection):
                    return connection
            except BaseException:
                connection.close()
                pool.putconn(connection)
                raise
            connection.close()
            pool.putconn(connection)

    def _open_pool(self, conninfo: str) -> ConnectionPool[Any]:
        return _Pool(
            conninfo,
            connection_class=_Connection,
            configure=self._configure,
            kwargs={
                "autocommit": True,
                "client_encoding": "utf8",
                "prepare_threshold": 5 if self._prepare else None,
                "connect_timeout": max(2, round(self._timeout)),  # libpq knows no shorter one
            },
            min_size=0,
            max_size=self._max_connections,
            timeout=self._timeout,
            reconnect_timeout=1,  # or its back-off would outlast the server's absence
            open=True,
        )

    def _configure(self, connection: _Connection) -> None:
        connection.answer_timeout = self._timeout
        connection.cursor_to_reuse = _plain_cursor(connection)

    def _explain_timeout(self, error: PoolTimeout | Empty) -> StoreError:
        """Find out why there is no connection: the pool only logs what its workers were told."""
        if self._conninfo is None:
            return StoreUnavailable(f"the pool had no connection to PostgreSQL within {self._timeout:g} s")
        try:
            psycopg.connect(self._conninfo, connect_timeout=2).close()
        except psycopg.OperationalError as reason:
            error.__cause__ = reason
            return _explain(reason)
        return StoreUnavailable(
            f"all {self._max_connections} connections of this process to PostgreSQL were in use for"
            f" {self._timeout:g} s; raise max_connections"
        )

    def close(self) -> None:
        """Close this process's connections, if they are not somebody else's."""
        pool = None if self._conninfo is None else self._pools.take()
        if pool is not None:
            pool.close()


class _Pool(ConnectionPool[Any]):
    """A pool with a turn for each of its connections."""

    def __init__(self, conninfo: str, *, max_size: int, **options: Any) -> None:
        self.turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(max_size):
            self.turns.put(None)
        super().__init__(conninfo, max_size=max_size, **options)


class _Connection(psycopg.Connection[Any]):
    """Gives up on a server that has stopped answering; libpq would wait for it without end.

    Has a cursor that every statement uses: to make one takes a tenth of a read's time.
    """

    answer_timeout: float | None = None
    cursor_to_reuse: Cursor

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # Nobody waits any more, so the server should not go on; and should an answer come, it must not
                # be taken for that to another question.
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=_CANCEL_SECONDS)
                self.pgconn.finish()
            raise


def cursor_of(connection: psycopg.Connection[Any]) -> Cursor:
    """Return the cursor for a statement."""
    return connection.cursor_to_reuse if isinstance(connection, _Connection) else _plain_cursor(connection)


def _plain_cursor(connection: psycopg.Connection[Any]) -> Cursor:
    """Return a cursor of psycopg's own kind; a ready-made pool's connections may make others."""
    return psycopg.Cursor(connection, row_factory=tuple_row)


def _only_here(pool: ConnectionPool[Any]) -> Callable[[], ConnectionPool[Any]]:
    """Return what gives a ready-made pool to the process that made it, and to no child of it."""
    process = os.getpid()

    def get() -> ConnectionPool[Any]:
        if os.getpid() != process:
            raise StoreError(
                "a psycopg_pool.ConnectionPool cannot be used after a fork; give PostgresStore the URL"
                " instead, and each process opens a pool of its own"
            )
        return pool

    return get


def _is_stale(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has hung up; an idle connection has nothing to say otherwise."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _explain(error: psycopg.Error) -> StoreError:
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName):
        return StoreError("the table of sessions is missing; call PostgresStore.setup() once")
    if isinstance(error, psycopg.OperationalError) and any(each in str(error) for each in _REFUSALS):
        return StoreError(f"PostgreSQL refused the connection: {_first_line(error)}")
    if isinstance(error, errors.DuplicatePreparedStatement | errors.InvalidSqlStatementName):
        return StoreError("a pool between here and PostgreSQL mixes up prepared statements; pass prepare=False")
    if isinstance(error, errors.ProgramLimitExceeded):
        return StoreError("PostgreSQL cannot index an owner of this length")
    if isinstance(error, psycopg.OperationalError | errors.ReadOnlySqlTransaction):
        return StoreUnavailable(f"PostgreSQL cannot serve now: {_first_line(error)}")
    # The server's text may quote what it was given.
    return StoreError(f"PostgreSQL failed: {type(error).__name__} ({error.sqlstate})")


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0]
