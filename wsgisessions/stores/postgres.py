"""Sessions in PostgreSQL, by psycopg 3 and its pool: for any number of machines."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from typing import Any, TypeVar, cast

import msgspec
from psycopg import errors, sql
from psycopg_pool import ConnectionPool

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..record import Clock, Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged
from .limits import check_limits
from .postgres_connections import Cursor, PostgresConnections, cursor_of

# Fields are one jsonb object of strings, so || merges it field by field and reformats nothing.
#
# A touch changes expires_at, which has no index, so the new version of the row stays on its page and no
# index grows (a heap-only tuple). The index is on purge_at, which a touch leaves alone: it says when to
# look next, and the purge that then finds the session alive moves it on.

_TABLE = """
CREATE {unlogged} TABLE IF NOT EXISTS {table} (
    id_hash text COLLATE "C" PRIMARY KEY,
    fields jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    purge_at timestamptz NOT NULL,
    owner text COLLATE "C",
    lease_token text,
    lease_until timestamptz
) WITH (fillfactor = 80)"""

_PURGE_INDEX = "CREATE INDEX IF NOT EXISTS {purge_index} ON {table} (purge_at)"

_OWNER_INDEX = "CREATE INDEX IF NOT EXISTS {owner_index} ON {table} (owner) WHERE owner IS NOT NULL"

# CREATE ... IF NOT EXISTS fails when two sessions run it at once.
_LOCK_SETUP = "SELECT pg_advisory_xact_lock(hashtext('wsgisessions setup'))"

_SCHEMA_EXISTS = "SELECT 1 FROM pg_namespace WHERE nspname = %s"

_CREATE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema}"

# An expired session does not take its ID hash: it is overwritten as if it were absent.
_CREATE = """
INSERT INTO {table} AS session (id_hash, fields, created_at, touched_at, expires_at, purge_at, owner)
VALUES (%(id_hash)s, %(fields)s, %(created_at)s, %(touched_at)s, %(expires_at)s, %(expires_at)s, %(owner)s)
ON CONFLICT (id_hash) DO UPDATE SET
    fields = excluded.fields, created_at = excluded.created_at, touched_at = excluded.touched_at,
    expires_at = excluded.expires_at, purge_at = excluded.purge_at, owner = excluded.owner,
    lease_token = NULL, lease_until = NULL
WHERE session.expires_at <= %(now)s"""

_LOAD = """
SELECT
    id_hash, fields::text, created_at AT TIME ZONE 'UTC', touched_at AT TIME ZONE 'UTC',
    expires_at AT TIME ZONE 'UTC', owner
FROM {table} WHERE id_hash = %s AND expires_at > %s"""

# An update is put together from those of these that its patch needs; a touch does not rewrite the fields.
_UPDATE = "UPDATE {table} SET "
_SET_ID_HASH = "id_hash = %(new_id_hash)s"
_SET_FIELDS = "fields = (fields - %(remove)s::text[]) || %(set)s::jsonb"
_TOUCH = "touched_at = %(now)s, expires_at = %(expires_at)s, purge_at = least(purge_at, %(expires_at)s)"
_SET_OWNER = "owner = %(owner)s"
_CHANGE_NOTHING = "id_hash = id_hash"
_IF_LIVE = " WHERE id_hash = %(id_hash)s AND expires_at > %(now)s"
_IF_PRESENT = " AND fields @> %(present)s::jsonb"
_IF_ABSENT = " AND NOT fields ?| %(absent)s::text[]"
_IF_LEASED = " AND lease_token = %(token)s AND lease_until > %(now)s"

_DELETE = "DELETE FROM {table} WHERE id_hash = %s AND expires_at > %s"

_IF_EMPTY = """
AND owner IS NULL AND NOT EXISTS (
    SELECT 1 FROM jsonb_object_keys(fields) AS name WHERE NOT starts_with(name, 'wsgisessions.'))"""

# Rows that a request is changing at this moment are skipped, so neither waits for the other.
_PURGE = """
WITH due AS (
    SELECT id_hash, expires_at <= %(now)s AS is_expired FROM {table}
    WHERE purge_at <= %(now)s ORDER BY purge_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM {table} WHERE id_hash = ANY(ARRAY(SELECT id_hash FROM due WHERE is_expired))
), postponed AS (
    UPDATE {table} SET purge_at = expires_at WHERE id_hash = ANY(ARRAY(SELECT id_hash FROM due WHERE NOT is_expired))
)
SELECT count(*), count(*) FILTER (WHERE is_expired) FROM due"""

_ACQUIRE = """
UPDATE {table} SET lease_token = %(token)s, lease_until = %(until)s
WHERE id_hash = %(id_hash)s AND expires_at > %(now)s
    AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_token = %(token)s)"""

_RELEASE = """
UPDATE {table} SET lease_token = NULL, lease_until = NULL
WHERE id_hash = %s AND lease_token = %s AND lease_until > %s"""

_FIND = """
SELECT
    id_hash, fields::text, created_at AT TIME ZONE 'UTC', touched_at AT TIME ZONE 'UTC',
    expires_at AT TIME ZONE 'UTC', owner
FROM {table} WHERE owner = %s AND expires_at > %s"""

_DELETE_OWNER = "DELETE FROM {table} WHERE owner = %s AND id_hash IS DISTINCT FROM %s AND expires_at > %s"

# The server says so in place of an answer: it has not applied the statement. Of these, all but the first come of an
# isolation level above READ COMMITTED.
_NOT_APPLIED = (errors.AdminShutdown, errors.SerializationFailure, errors.DeadlockDetected)
_MOST_ATTEMPTS = 20
_LONGEST_PAUSE = 0.002

_LONGEST_TABLE = 63 - len("_purge_at")

_dump = msgspec.json.Encoder().encode
_load_fields = msgspec.json.Decoder(dict[str, str]).decode

T = TypeVar("T")


class PostgresStore(Store):
    """Sessions in one table, each method one statement in a transaction of its own.

    The table must be made once by `setup()`, in a deployment script or at the app's start.

    :param server: a `postgresql://` URL or libpq connection string, or a `psycopg_pool.ConnectionPool`
        that is already there (its connections should be in autocommit mode, else each method costs two
        round trips more; after a fork it cannot be used).
    :param schema: the table's schema; by default the first of the connection's search path.
    :param table: the table's name.
    :param unlogged: whether `setup` makes the table unlogged: faster to write, but emptied when the
        server crashes, and absent from its replicas.
    :param prepare: whether to use prepared statements; False behind a PgBouncer that does not know them.
    :param max_connections: how many connections a process opens at most.
    :param timeout: how many seconds a method waits for a connection, and again for its answer, before
        `StoreUnavailable`. For a pool that was already there, the pool's own timeouts hold.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: an option makes no sense.
    """

    def __init__(
        self,
        server: str | ConnectionPool[Any],
        *,
        schema: str | None = None,
        table: str = "wsgisessions",
        unlogged: bool = False,
        prepare: bool = True,
        max_connections: int = 10,
        timeout: float = 5,
        clock: Clock = utc_now,
    ) -> None:
        check_limits(self, timeout=timeout, max_connections=max_connections)
        if len(table.encode()) > _LONGEST_TABLE:
            raise ConfigurationError(
                f"PostgresStore(table=...) has {_LONGEST_TABLE} bytes at most, for PostgreSQL cuts off the names of"
                f" its indexes; got {len(table.encode())} bytes"
            )
        self._schema = schema
        self._names = {
            "table": _quote(table) if schema is None else _quote(schema, table),
            "schema": _quote(schema or ""),
            "purge_index": _quote(f"{table}_purge_at"),
            "owner_index": _quote(f"{table}_owner"),
            "unlogged": "UNLOGGED" if unlogged else "",
        }
        self._statements: dict[str, bytes] = {}
        self._clock = clock
        self._connections = PostgresConnections(
            server, prepare=prepare, max_connections=max_connections, timeout=timeout
        )

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session."""
        parameters = {
            "id_hash": id_hash,
            "fields": _dump(record.fields).decode(),
            "created_at": record.created_at,
            "touched_at": record.touched_at,
            "expires_at": record.expires_at,
            "owner": record.owner,
            "now": self._clock(),
        }
        return self._execute(_CREATE, parameters) == 1

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""
        found = self._query(_LOAD, (id_hash, self._clock()), _read_record)
        return found and found[1]

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all; one statement, and another to explain a failure."""
        return self._patch(id_hash, None, patch)

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash, in one statement."""
        try:
            return self._patch(id_hash, new_id_hash, patch)
        except StoreError as error:
            if isinstance(error.__cause__, errors.UniqueViolation):
                return Outcome.CONFLICT
            raise

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        return self._execute(_DELETE + _IF_EMPTY if if_empty else _DELETE, (id_hash, self._clock())) == 1

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many.

        One statement for each `limit` sessions that were touched since they were last looked at.
        """
        while True:
            due, expired = self._query(_PURGE, {"now": self._clock(), "limit": limit}, _read_row)
            if expired or not due or due < limit:
                return int(expired)

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        now = self._clock()
        return self._execute(_ACQUIRE, {"id_hash": id_hash, "token": token, "until": now + lease, "now": now}) == 1

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        return self._execute(_RELEASE, (id_hash, token, self._clock())) == 1

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes."""
        found = self._query(_FIND, (owner, self._clock()), _read_records)
        yield from (each for each in found if each is not None)

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's live sessions, all but one, and return how many."""
        return self._execute(_DELETE_OWNER, (owner, keep, self._clock()))

    def setup(self) -> None:
        """Create the schema, the table and its indexes, those of them that are absent."""
        with self._connections.borrow() as connection, connection.transaction():
            connection.execute(_LOCK_SETUP)
            if self._schema is not None and connection.execute(_SCHEMA_EXISTS, (self._schema,)).rowcount == 0:
                connection.execute(self._statement(_CREATE_SCHEMA), ())
            for statement in (_TABLE, _PURGE_INDEX, _OWNER_INDEX):
                connection.execute(self._statement(statement), ())

    def close(self) -> None:
        """Close this process's connections, if the store opened them."""
        self._connections.close()

    def _patch(self, id_hash: str, new_id_hash: str | None, patch: Patch) -> Outcome:
        assignments = list(_assignments(new_id_hash, patch)) or [_CHANGE_NOTHING]
        statement = _UPDATE + ", ".join(assignments) + _IF_LIVE
        parameters: dict[str, Any] = {
            "id_hash": id_hash,
            "new_id_hash": new_id_hash,
            "set": _dump(patch.set).decode(),
            "remove": list(patch.remove),
            "expires_at": patch.expires_at,
            "owner": patch.owner,
            "token": patch.token,
            "now": self._clock(),
        }
        if patch.expect:
            present = {name: text for name, text in patch.expect.items() if text is not None}
            parameters["present"] = _dump(present).decode()
            parameters["absent"] = [name for name, text in patch.expect.items() if text is None]
            statement += _IF_PRESENT + _IF_ABSENT
        if patch.token is not None:
            statement += _IF_LEASED
        if self._execute(statement, parameters) == 1:
            return Outcome.DONE
        may_conflict = patch.expect or patch.token is not None
        return Outcome.CONFLICT if may_conflict and self.load(id_hash) is not None else Outcome.GONE

    # --- statements and connections

    def _statement(self, template: str) -> bytes:
        try:
            return self._statements[template]
        except KeyError:
            statement = re.sub(r"\{(\w+)\}", lambda placeholder: self._names[placeholder[1]], template)
            return self._statements.setdefault(template, statement.encode())

    def _execute(self, template: str, parameters: Any) -> int:
        """Execute a statement, and return how many rows it changed."""
        return self._query(template, parameters, _count)

    def _query(self, template: str, parameters: Any, read: Callable[[Cursor], T], attempt: int = 1) -> T:
        """Execute a statement, and return what `read` takes from its result."""
        try:
            with self._connections.borrow() as connection:
                return read(cursor_of(connection).execute(self._statement(template), parameters, binary=True))
        except StoreUnavailable as error:
            if attempt == _MOST_ATTEMPTS or not isinstance(error.__cause__, _NOT_APPLIED):
                raise
        time.sleep(random.uniform(0, _LONGEST_PAUSE) * attempt)  # noqa: S311 -- jitter guards no secret
        return self._query(template, parameters, read, attempt + 1)


def _assignments(new_id_hash: str | None, patch: Patch) -> Iterator[str]:
    if new_id_hash is not None:
        yield _SET_ID_HASH
    if patch.set or patch.remove:
        yield _SET_FIELDS
    if patch.expires_at is not None:
        yield _TOUCH
    if patch.owner is not None:
        yield _SET_OWNER


def _quote(*names: str) -> str:
    # A percent sign would be taken for a parameter.
    return sql.Identifier(*names).as_string().replace("%", "%%")


def _count(cursor: Cursor) -> int:
    return cursor.rowcount


def _read_row(cursor: Cursor) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", cursor.fetchone())


def _read_record(cursor: Cursor) -> tuple[str, Record] | None:
    return _next_record(cursor) if cursor.rowcount else None


def _read_records(cursor: Cursor) -> list[tuple[str, Record] | None]:
    found = []
    for position in range(cursor.rowcount):
        cursor.scroll(position, "absolute")
        found.append(_next_record(cursor))
    return found


@absent_if_damaged
def _next_record(cursor: Cursor) -> tuple[str, Record]:
    # Fetched in here, where psycopg may find a time that Python has none for.
    id_hash, fields, *times, owner = _read_row(cursor)
    created_at, touched_at, expires_at = (each.replace(tzinfo=timezone.utc) for each in times)
    return id_hash, Record(_load_fields(fields), created_at, touched_at, expires_at, owner)
