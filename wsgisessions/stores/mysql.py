"""Sessions in MySQL or MariaDB, by PyMySQL and SQLAlchemy's pool: for any number of machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor
from pymysql.err import IntegrityError

from ..errors import StoreError
from ..record import Clock, Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged
from .limits import check_limits
from .mysql_connections import MySQLConnections

# Fields are one JSON object of strings, so JSON_MERGE_PATCH merges it field by field and reformats nothing. Their
# names are percent-encoded, and what is to go is named by JSON_REMOVE rather than by nulls in the patch:
# MariaDB 10.11 has both wrong at times. The primary key is a number, so that a rename does not move the row in the
# index by owner, past a delete_owner that is under way.
# Times are UTC without a zone, set and compared by the client's clock: the server's zone changes nothing.
# An owner is binary, for the collations that both servers know ignore spaces at the end.

_TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id_hash CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    fields JSON NOT NULL,
    created_at DATETIME(6) NOT NULL,
    touched_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NOT NULL,
    owner VARBINARY(1024),
    lease_token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    lease_until DATETIME(6),
    UNIQUE INDEX by_id_hash (id_hash),
    INDEX by_expires_at (expires_at),
    INDEX by_owner (owner)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"""

_CREATE = """
INSERT INTO {table} (id_hash, fields, created_at, touched_at, expires_at, owner)
VALUES (%(id_hash)s, %(fields)s, %(created_at)s, %(touched_at)s, %(expires_at)s, %(owner)s)"""

_DELETE_IF_EXPIRED = "DELETE FROM {table} WHERE id_hash = %(id_hash)s AND expires_at <= %(now)s"

_LOAD = """
SELECT fields, created_at, touched_at, expires_at, owner
FROM {table} WHERE id_hash = %(id_hash)s AND expires_at > %(now)s"""

# An update is put together from those of these that its patch needs.
_UPDATE = "UPDATE {table} SET "
_SET_ID_HASH = "id_hash = %(new_id_hash)s"
_SET_FIELDS = "fields = JSON_MERGE_PATCH({kept}, %(set)s)"
_KEEP = "JSON_REMOVE(fields, {paths})"
_TOUCH = "touched_at = %(now)s, expires_at = %(expires_at)s"
_SET_OWNER = "owner = %(owner)s"
_CHANGE_NOTHING = "id_hash = id_hash"
_IF_LIVE = " WHERE id_hash = %(id_hash)s AND expires_at > %(now)s"
_IF_PRESENT = " AND JSON_CONTAINS(fields, %(present)s)"
_IF_ABSENT = " AND NOT JSON_CONTAINS_PATH(fields, 'one', {paths})"
_IF_LEASED = " AND lease_token = %(token)s AND lease_until > %(now)s"

_DELETE = "DELETE FROM {table} WHERE id_hash = %(id_hash)s AND expires_at > %(now)s"

_IF_EMPTY = """
AND owner IS NULL
AND CONVERT(JSON_KEYS(fields) USING utf8mb4) COLLATE utf8mb4_bin REGEXP '^.("wsgisessions[.][^"]*"[, ]*)*.$'"""

_DELETE_EXPIRED = "DELETE FROM {table} WHERE expires_at <= %(now)s ORDER BY expires_at LIMIT %(limit)s"

_ACQUIRE = """
UPDATE {table} SET lease_token = %(token)s, lease_until = %(until)s
WHERE id_hash = %(id_hash)s AND expires_at > %(now)s
    AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_token = %(token)s)"""

_RELEASE = """
UPDATE {table} SET lease_token = NULL, lease_until = NULL
WHERE id_hash = %(id_hash)s AND lease_token = %(token)s AND lease_until > %(now)s"""

_FIND = """
SELECT id_hash, fields, created_at, touched_at, expires_at, owner
FROM {table} WHERE owner = %(owner)s AND expires_at > %(now)s"""

_DELETE_OWNER = "DELETE FROM {table} WHERE owner = %(owner)s AND id_hash <> %(keep)s AND expires_at > %(now)s"

_LONGEST_OWNER = 1024

_dump = msgspec.json.Encoder().encode
_load_fields = msgspec.json.Decoder(dict[str, str]).decode


class MySQLStore(Store):
    """Sessions in one table, each method one statement in a transaction of its own.

    The table must be made once by `setup()`, in a deployment script or at the app's start. Owners have
    1,024 bytes of UTF-8 at most.

    :param server: a `mysql://user:password@host/database` URL, with `unix_socket`, `ssl_ca`, `ssl_cert`
        and `ssl_key` as its query; or a function that returns a new PyMySQL connection, in autocommit
        mode and with `client_flag=CLIENT.FOUND_ROWS`.
    :param table: the table's name, with the database's before a dot if it is another one.
    :param max_connections: how many connections a process opens at most.
    :param timeout: how many seconds a method waits for a connection, and again for its answer, before
        `StoreUnavailable`. For a function, the time-outs that it sets hold instead of the latter.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: an option makes no sense.
    """

    def __init__(
        self,
        server: str | Callable[[], pymysql.Connection[Any]],
        *,
        table: str = "wsgisessions",
        max_connections: int = 10,
        timeout: float = 5,
        clock: Clock = utc_now,
    ) -> None:
        check_limits(self, timeout=timeout, max_connections=max_connections)
        self._table = ".".join(f"`{part.replace('`', '``')}`" for part in table.split(".")).replace("%", "%%")
        self._clock = clock
        self._connections = MySQLConnections(server, max_connections=max_connections, timeout=timeout)

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session; one statement, and two more where the ID hash is taken by an expired one."""
        parameters = {
            "id_hash": id_hash,
            "fields": _dump_fields(record.fields),
            "created_at": _to_naive(record.created_at),
            "touched_at": _to_naive(record.touched_at),
            "expires_at": _to_naive(record.expires_at),
            "owner": None if record.owner is None else _to_binary(record.owner),
        }
        while True:
            try:
                self._execute(_CREATE, parameters)
                return True
            except StoreError as error:
                if not _is_duplicate(error):
                    raise
            if self._execute(_DELETE_IF_EXPIRED, {"id_hash": id_hash}).rowcount == 0:
                return False

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""
        row = self._execute(_LOAD, {"id_hash": id_hash}).fetchone()
        return None if row is None else _to_record(*row)

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all; one statement, and another to explain a failure."""
        return self._patch(id_hash, None, patch)

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash, in one statement."""
        try:
            return self._patch(id_hash, new_id_hash, patch)
        except StoreError as error:
            if _is_duplicate(error):
                return Outcome.CONFLICT
            raise

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        return self._execute(_DELETE + _IF_EMPTY if if_empty else _DELETE, {"id_hash": id_hash}).rowcount == 1

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many."""
        return self._execute(_DELETE_EXPIRED, {"limit": limit}).rowcount

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        until = _to_naive(self._clock() + lease)
        return self._execute(_ACQUIRE, {"id_hash": id_hash, "token": token, "until": until}).rowcount == 1

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        return self._execute(_RELEASE, {"id_hash": id_hash, "token": token}).rowcount == 1

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes."""
        rows = self._execute(_FIND, {"owner": _to_binary(owner)}).fetchall()
        for id_hash, *row in rows:
            if (record := _to_record(*row)) is not None:
                yield id_hash, record

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's live sessions, all but one, and return how many."""
        return self._execute(_DELETE_OWNER, {"owner": _to_binary(owner), "keep": keep or ""}).rowcount

    def setup(self) -> None:
        """Create the table with its indexes if it is absent."""
        self._execute(_TABLE, {})

    def close(self) -> None:
        """Close this process's connections."""
        self._connections.close()

    def _patch(self, id_hash: str, new_id_hash: str | None, patch: Patch) -> Outcome:
        parameters: dict[str, Any] = {
            "id_hash": id_hash,
            "new_id_hash": new_id_hash,
            "set": _dump_fields(patch.set),
            "expires_at": None if patch.expires_at is None else _to_naive(patch.expires_at),
            "owner": None if patch.owner is None else _to_binary(patch.owner),
            "token": patch.token,
        }
        assignments = list(_assignments(new_id_hash, patch)) or [_CHANGE_NOTHING]
        statement = _UPDATE + ", ".join(assignments) + _IF_LIVE
        kept = _KEEP.format(paths=_paths("removed", patch.remove, parameters)) if patch.remove else "fields"
        statement = statement.replace("{kept}", kept)
        present = {name: text for name, text in patch.expect.items() if text is not None}
        if present:
            parameters["present"] = _dump_fields(present)
            statement += _IF_PRESENT
        if absent := [name for name, text in patch.expect.items() if text is None]:
            statement += _IF_ABSENT.replace("{paths}", _paths("absent", absent, parameters))
        if patch.token is not None:
            statement += _IF_LEASED
        if self._execute(statement, parameters).rowcount == 1:
            return Outcome.DONE
        may_conflict = patch.expect or patch.token is not None
        return Outcome.CONFLICT if may_conflict and self.load(id_hash) is not None else Outcome.GONE

    # --- statements

    def _execute(self, template: str, parameters: dict[str, Any]) -> Cursor:
        """Execute a statement at the present time; the cursor has all of its answer."""
        parameters["now"] = _to_naive(self._clock())
        return self._connections.execute(template.replace("{table}", self._table), parameters)


def _assignments(new_id_hash: str | None, patch: Patch) -> Iterator[str]:
    if new_id_hash is not None:
        yield _SET_ID_HASH
    if patch.set or patch.remove:
        yield _SET_FIELDS
    if patch.expires_at is not None:
        yield _TOUCH
    if patch.owner is not None:
        yield _SET_OWNER


def _is_duplicate(error: StoreError) -> bool:
    cause = error.__cause__
    return isinstance(cause, IntegrityError) and cause.args[0] == ER.DUP_ENTRY


def _escape(name: str) -> str:
    return quote(name, safe="") or "%"


def _unescape(name: str) -> str:
    if name.isalnum() and name.isascii():
        return name
    plain = "" if name == "%" else unquote(name)
    if _escape(plain) != name:
        raise ValueError  # no patch could name it
    return plain


def _dump_fields(fields: Mapping[str, str]) -> str:
    return _dump({_escape(name): text for name, text in fields.items()}).decode()


def _paths(prefix: str, names: Iterable[str], parameters: dict[str, Any]) -> str:
    """Add the JSON paths of fields to a statement's parameters, and return the placeholders."""
    paths = {f"{prefix}{number}": f'$."{_escape(name)}"' for number, name in enumerate(names)}
    parameters |= paths
    return ", ".join(f"%({parameter})s" for parameter in paths)


def _to_binary(owner: str) -> bytes:
    binary = owner.encode()
    if len(binary) > _LONGEST_OWNER:
        raise StoreError(f"MySQLStore keeps owners of {_LONGEST_OWNER} bytes at most; got {len(binary)} bytes")
    return binary


def _to_naive(instant: datetime) -> datetime:
    return instant.astimezone(timezone.utc).replace(tzinfo=None)


@absent_if_damaged
def _to_record(
    fields: str, created_at: datetime, touched_at: datetime, expires_at: datetime, owner: bytes | None
) -> Record:
    return Record(
        {_unescape(name): text for name, text in _load_fields(fields).items()},
        created_at.replace(tzinfo=timezone.utc),
        touched_at.replace(tzinfo=timezone.utc),
        expires_at.replace(tzinfo=timezone.utc),
        None if owner is None else owner.decode(),
    )
