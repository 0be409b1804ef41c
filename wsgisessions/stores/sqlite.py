"""Sessions in a SQLite file: for one machine, any number of threads and processes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from ..errors import ConfigurationError, StoreError
from ..record import Clock, Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged
from .sqlite_connections import Parameters, SQLiteConnections

# Times are microseconds since 1970 in UTC: exact, and compared as integers. Fields are one JSON object
# of strings, so json_patch() merges it field by field and reformats nothing.

_TABLE = """
CREATE TABLE IF NOT EXISTS wsgisessions (
    id_hash TEXT PRIMARY KEY,
    fields TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    touched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    owner TEXT,
    lease_token TEXT,
    lease_until INTEGER NOT NULL DEFAULT 0
)"""

_INDEXES = (
    "CREATE INDEX IF NOT EXISTS wsgisessions_expires_at ON wsgisessions (expires_at)",
    "CREATE INDEX IF NOT EXISTS wsgisessions_owner ON wsgisessions (owner) WHERE owner IS NOT NULL",
)

# An expired session does not take its ID hash: it is overwritten as if it were absent.
_CREATE = """
INSERT INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at, owner)
VALUES (:id_hash, :fields, :created_at, :touched_at, :expires_at, :owner)
ON CONFLICT (id_hash) DO UPDATE SET
    fields = excluded.fields, created_at = excluded.created_at, touched_at = excluded.touched_at,
    expires_at = excluded.expires_at, owner = excluded.owner, lease_token = NULL, lease_until = 0
WHERE expires_at <= :now"""

_LOAD = """
SELECT fields, created_at, touched_at, expires_at, owner
FROM wsgisessions WHERE id_hash = ? AND expires_at > ?"""

_PATCH = """
UPDATE wsgisessions SET
    id_hash = :new_id_hash,
    fields = CASE WHEN :patch IS NULL THEN fields ELSE json_patch(fields, :patch) END,
    touched_at = CASE WHEN :expires_at IS NULL THEN touched_at ELSE :now END,
    expires_at = coalesce(:expires_at, expires_at),
    owner = coalesce(:owner, owner)
WHERE id_hash = :id_hash AND expires_at > :now"""

_IF_EXPECTED = """
AND NOT EXISTS (
    SELECT 1 FROM json_each(:expect) AS expected
    LEFT JOIN json_each(wsgisessions.fields) AS stored ON stored.key = expected.key
    WHERE stored.value IS NOT expected.value)"""

_IF_LEASED = " AND lease_token = :token AND lease_until > :now"

_DELETE = "DELETE FROM wsgisessions WHERE id_hash = ? AND expires_at > ?"

_IF_EMPTY = """
AND owner IS NULL AND NOT EXISTS (
    SELECT 1 FROM json_each(wsgisessions.fields) AS stored WHERE stored.key NOT GLOB 'wsgisessions.*')"""

_DELETE_EXPIRED = """
DELETE FROM wsgisessions WHERE id_hash IN (
    SELECT id_hash FROM wsgisessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"""

_ACQUIRE = """
UPDATE wsgisessions SET lease_token = :token, lease_until = :until
WHERE id_hash = :id_hash AND expires_at > :now AND (lease_until <= :now OR lease_token = :token)"""

_RELEASE = """
UPDATE wsgisessions SET lease_token = NULL, lease_until = 0
WHERE id_hash = ? AND lease_token = ? AND lease_until > ?"""

_FIND = """
SELECT id_hash, fields, created_at, touched_at, expires_at, owner
FROM wsgisessions WHERE owner = ? AND expires_at > ?"""

_DELETE_OWNER = "DELETE FROM wsgisessions WHERE owner = ? AND id_hash IS NOT ? AND expires_at > ?"

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

_dump = msgspec.json.Encoder().encode
_load_fields = msgspec.json.Decoder(dict[str, str]).decode


class SQLiteStore(Store):
    """Sessions in one file, in write-ahead mode, its table made at the first use.

    A commit survives the death of the process; a power failure may cost the last moments
    (`synchronous=NORMAL`). The file must be on a local disk, and is made readable by its owner only.

    :param path: the file; its folder must exist.
    :param timeout: how many seconds to wait for another process's write before `StoreUnavailable`.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: the path is none that several connections could share.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 5,
        clock: Clock = utc_now,
    ) -> None:
        if timeout < 0:
            raise ConfigurationError(f"SQLiteStore(timeout=...) is in seconds, 0 or more; got {timeout!r}")
        self._clock = clock
        self._connections = SQLiteConnections(os.fspath(path), (_TABLE, *_INDEXES), timeout=timeout)

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session."""
        parameters = {
            "id_hash": id_hash,
            "fields": _dump(record.fields).decode(),
            "created_at": _to_integer(record.created_at),
            "touched_at": _to_integer(record.touched_at),
            "expires_at": _to_integer(record.expires_at),
            "owner": record.owner,
            "now": self._now(),
        }
        return self._execute(_CREATE, parameters) == 1

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""
        row = self._connections.query(_LOAD, (id_hash, self._now()), sqlite3.Cursor.fetchone)
        return None if row is None else _to_record(row)

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all; one statement, and another to explain a failure."""
        return self._patch(id_hash, id_hash, patch)

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash, in one statement."""
        try:
            return self._patch(id_hash, new_id_hash, patch)
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                return Outcome.CONFLICT
            raise

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        return self._execute(_DELETE + _IF_EMPTY if if_empty else _DELETE, (id_hash, self._now())) == 1

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many."""
        return self._execute(_DELETE_EXPIRED, (self._now(), limit))

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        now = self._now()
        parameters = {
            "id_hash": id_hash,
            "token": token,
            "until": now + lease // _MICROSECOND,
            "now": now,
        }
        return self._execute(_ACQUIRE, parameters) == 1

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        return self._execute(_RELEASE, (id_hash, token, self._now())) == 1

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes."""
        rows = self._connections.query(_FIND, (owner, self._now()), sqlite3.Cursor.fetchall)
        for id_hash, *row in rows:
            if (record := _to_record(row)) is not None:
                yield id_hash, record

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's live sessions, all but one, and return how many."""
        return self._execute(_DELETE_OWNER, (owner, keep, self._now()))

    def setup(self) -> None:
        """Create the table and its indexes; runs by itself at the first use."""
        self._connections.set_up()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._connections.close()

    def _patch(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        removed: dict[str, str | None] = dict.fromkeys(patch.remove)
        changes = removed | dict(patch.set)
        parameters = {
            "id_hash": id_hash,
            "new_id_hash": new_id_hash,
            "patch": _dump(changes).decode() if changes else None,
            "expires_at": None if patch.expires_at is None else _to_integer(patch.expires_at),
            "owner": patch.owner,
            "now": self._now(),
        }
        statement = _PATCH
        if patch.expect:
            statement += _IF_EXPECTED
            parameters["expect"] = _dump(patch.expect).decode()
        if patch.token is not None:
            statement += _IF_LEASED
            parameters["token"] = patch.token
        if self._execute(statement, parameters) == 1:
            return Outcome.DONE
        may_conflict = patch.expect or patch.token is not None
        return Outcome.CONFLICT if may_conflict and self.load(id_hash) is not None else Outcome.GONE

    def _now(self) -> int:
        return _to_integer(self._clock())

    def _execute(self, statement: str, parameters: Parameters) -> int:
        return self._connections.query(statement, parameters, _count)


def _count(cursor: sqlite3.Cursor) -> int:
    return cursor.rowcount


def _to_integer(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


@absent_if_damaged
def _to_record(row: Sequence[Any]) -> Record:
    fields, *times, owner = row
    created_at, touched_at, expires_at = (_EPOCH + timedelta(microseconds=each) for each in times)
    if not isinstance(owner, str | None):
        raise TypeError  # SQLite does not insist on a column's type
    return Record(_load_fields(fields), created_at, touched_at, expires_at, owner)
