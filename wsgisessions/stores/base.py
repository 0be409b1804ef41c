"""The contract of a store; all that the author of a new one needs to know.

A store is an atomic patcher of small maps. It knows each session by its ID hash, the SHA-256 of the
session ID in hexadecimal, and keeps a `Record` for it: a map from fields to opaque texts, two times,
a deadline and an owner. It never sees a session ID and never decodes a text.

What a store may rely on: an ID hash is 64 characters of `0-9a-f`; fields and texts hold neither NUL
nor lone surrogates, but anything else (dots, dollars, quotes, emoji, and a field may be empty);
times are aware UTC.

What every method promises:

* It is one round trip where the engine can, and atomic: other threads, processes and machines see
  all of its effect or none.
* A session whose `expires_at` is not in the future is absent, whatever the engine's reaper has done.
* A session that was renamed is simply absent under its old ID hash: every method answers GONE (or None, or False).
* A session that cannot be read, because somebody damaged what is stored, is absent, and the log says so.
* It may be called from any thread, and after a fork from both processes.
* No connection is held between calls, and none is opened by the constructor.
* It ends within a bounded time, with its result or an error: `StoreUnavailable` when a later attempt
  may succeed, `StoreError` when not. The driver's error is the cause; no message holds a text.
* After the server comes back, the next call works.

A record may be a *mark*, which lives for 10 seconds and has no owner: it tells that a session has
moved. To a store it is a record like any other.

Prove a store with `wsgisessions.testing.StoreContract`, which has a test for each sentence here but the one
of damage, which every engine allows in a way of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import timedelta

from ..record import Outcome, Patch, Record


class Store(ABC):
    """Keeps sessions; see the module's text for what holds for every method."""

    is_shared: bool = True
    """Whether several processes see the same sessions."""

    @abstractmethod
    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session.

        Return False and change nothing if the ID hash is taken: two sessions must never become one. An
        expired session does not take its ID hash.
        """

    @abstractmethod
    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""

    @abstractmethod
    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all.

        Fields that the patch does not name keep what other requests have stored in them. A patch that
        sets `expires_at` stamps `touched_at` with the present.

        * `GONE`: the session is absent or expired. It is never brought to life.
        * `CONFLICT`: a text of `patch.expect` is not the stored one, or `patch.token` is not the token
          of a running lease. Where a session is gone, GONE goes before CONFLICT.
        """

    @abstractmethod
    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch as `update` does and move the session to a new ID hash, in one.

        Its fields, times, owner and lease move along, and it is absent under the old ID hash from then on.
        `CONFLICT` also if the new ID hash is taken.
        """

    @abstractmethod
    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one.

        With `if_empty`, only if it has no owner and no fields at the moment of deletion, so that what a
        parallel request stores is not lost. Fields that start with `RESERVED_PREFIX` (`wsgisessions.`)
        are about the session, not in it, and do not count.
        """

    @abstractmethod
    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many.

        One bounded batch; safe beside live traffic. An engine that expires by itself returns 0.
        """

    @abstractmethod
    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now.

        True also if the token has it already, which prolongs it. False if another token's lease is
        running, or the session is absent.
        """

    @abstractmethod
    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease. False, with nothing changed, if the token does not have it."""

    @abstractmethod
    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes, in any order."""

    @abstractmethod
    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's sessions, all but the one under the ID hash `keep`; return how many live ones went."""

    def setup(self) -> None:  # noqa: B027 -- an engine without a schema has nothing to do
        """Create tables and indexes. Idempotent, and safe when many processes call it at once."""

    def close(self) -> None:  # noqa: B027 -- a store without connections has nothing to do
        """Let go of connections; later calls open new ones."""
