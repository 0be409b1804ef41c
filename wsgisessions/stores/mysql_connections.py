"""A process's connections to MySQL or MariaDB: PyMySQL's, in a pool of SQLAlchemy's."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT, ER
from pymysql.cursors import Cursor
from pymysql.err import DataError, IntegrityError, InterfaceError, MySQLError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..forking import OnePerProcess

# Purging must not lock the gaps into which live traffic inserts; and a statement that nobody waits for any
# more must not wait on for a lock.
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
_LOCK_TIMEOUT = "SET SESSION innodb_lock_wait_timeout = %s"

_URL_OPTIONS = {"unix_socket", "ssl_ca", "ssl_cert", "ssl_key", "ssl_verify_identity"}

_URL_FORM = "a MySQL URL is mysql://user:password@host:3306/database, with %XX for what is special in the password"

_REFUSALS = {ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.BAD_DB_ERROR, ER.TABLEACCESS_DENIED_ERROR}
_STATEMENT_BINLOG = 1665  # binlog_format=STATEMENT does not go with READ COMMITTED
_LASTING = {ER.NET_PACKET_TOO_LARGE, ER.CANT_AGGREGATE_2COLLATIONS, _STATEMENT_BINLOG}


class MySQLConnections:
    """Executes statements on connections that work, each on one of a pool's.

    :raises ConfigurationError: the server is neither a URL that can be read nor a function.
    """

    def __init__(self, server: object, *, max_connections: int, timeout: float) -> None:
        self._max_connections = max_connections
        self._timeout = timeout
        self._connect = _connector(server, timeout)
        self._pools = OnePerProcess(self._open_pool)

    def execute(self, statement: str, parameters: dict[str, Any]) -> Cursor:
        """Execute a statement; the cursor has all of its answer.

        :raises StoreError: whatever the driver raised is its cause.
        """
        try:
            try:
                return self._execute_once(statement, parameters)
            except OperationalError as error:
                if error.args[0] != ER.LOCK_DEADLOCK:
                    raise
            # The server has rolled the statement back, to end a deadlock.
            return self._execute_once(statement, parameters)
        except (MySQLError, OSError) as error:
            raise _explain(error) from error

    def close(self) -> None:
        """Close this process's connections."""
        pool = self._pools.take()
        if pool is not None:
            pool.dispose()

    def _execute_once(self, statement: str, parameters: dict[str, Any]) -> Cursor:
        connection = self._borrow()
        try:
            cursor = cast("pymysql.Connection[Cursor]", connection.dbapi_connection).cursor(Cursor)
            cursor.execute(statement, parameters)
            return cursor
        except (IntegrityError, ProgrammingError, DataError):
            raise
        except BaseException:
            # It may be broken, or its answer still come and be taken for that to another statement.
            connection.invalidate()
            raise
        finally:
            connection.close()

    def _borrow(self) -> PoolProxiedConnection:
        pool = self._pools.get()
        while True:
            try:
                connection = pool.connect()
            except PoolTimeout as error:
                raise StoreUnavailable(
                    f"all {self._max_connections} connections of this process to MySQL were in use for"
                    f" {self._timeout:g} s; raise max_connections"
                ) from error
            try:
                if not _is_stale(connection.dbapi_connection):
                    return connection
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
            connection.invalidate()
            connection.close()

    def _open_pool(self) -> QueuePool:
        return QueuePool(
            self._connect,
            pool_size=self._max_connections,
            max_overflow=0,
            timeout=self._timeout,
            use_lifo=True,
            reset_on_return=None,  # autocommit leaves nothing to roll back, which would be a round trip
        )


def _connector(server: object, timeout: float) -> Callable[[], Any]:
    """Return what opens a connection."""
    if not isinstance(server, str):
        if callable(server):
            return lambda: _checked(cast("pymysql.Connection[Any]", server()))
        raise ConfigurationError(
            "MySQLStore takes a mysql:// URL or a function that returns a PyMySQL connection;"
            f" got {type(server).__name__}"
        )
    try:
        parts = urlsplit(server)
        port = parts.port or 3306
    except ValueError:
        # The cause would quote a part of the password.
        raise ConfigurationError(_URL_FORM) from None
    database = unquote(parts.path.strip("/"))
    if not parts.scheme.startswith("mysql") or not database:
        raise ConfigurationError(_URL_FORM)
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if unknown := options.keys() - _URL_OPTIONS:
        raise ConfigurationError(
            f"a MySQL URL's query has {', '.join(sorted(_URL_OPTIONS))} only; got {', '.join(sorted(unknown))}."
            " For other options give MySQLStore a function that returns a connection"
        )
    if "ssl_verify_identity" in options:
        options["ssl_verify_identity"] = options["ssl_verify_identity"].lower() in ("1", "true")

    def connect() -> pymysql.Connection[Cursor]:
        connection = pymysql.connect(
            host=parts.hostname or "localhost",
            port=port,
            user=unquote(parts.username or "") or None,
            password=unquote(parts.password or ""),
            database=database,
            charset="utf8mb4",
            sql_mode="STRICT_TRANS_TABLES",
            init_command=_ISOLATION,
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=timeout,
            read_timeout=timeout,
            write_timeout=timeout,
            **options,
        )
        with connection.cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT, [max(1, int(timeout) - 1)])
        return connection

    return connect


def _checked(connection: pymysql.Connection[Any]) -> pymysql.Connection[Any]:
    if not connection.get_autocommit() or not connection.client_flag & CLIENT.FOUND_ROWS:
        connection.close()
        raise ConfigurationError("MySQLStore needs connections with autocommit=True and client_flag=CLIENT.FOUND_ROWS")
    return connection


def _is_stale(connection: Any) -> bool:
    """Tell whether the server has hung up; an idle connection has nothing to say otherwise.

    PyMySQL has no public way to ask without a round trip.
    """
    if not connection.open:
        return True
    poll = select.poll()
    poll.register(connection._sock, select.POLLIN)
    return bool(poll.poll(0))


def _explain(error: MySQLError | OSError) -> StoreError:
    code = error.args[0] if error.args else None
    if isinstance(error, ProgrammingError) and code == ER.NO_SUCH_TABLE:
        return StoreError("the table of sessions is missing; call MySQLStore.setup() once")
    if code in _REFUSALS:
        return StoreError(f"MySQL refused the connection: {error.args[-1]}")
    if isinstance(error, OperationalError | InterfaceError) and code not in _LASTING:
        return StoreUnavailable(f"MySQL cannot serve now: {error.args[-1]} ({code})")
    # The server's text may quote what it was given.
    return StoreError(f"MySQL failed: {type(error).__name__} ({code})")
