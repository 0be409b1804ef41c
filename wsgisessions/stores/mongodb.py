"""Sessions in MongoDB, by PyMongo: one document each, in one server, a replica set or a sharded cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, errors
from pymongo.collection import Collection
from pymongo.synchronous.uri_parser import parse_uri

from ..errors import ConfigurationError, StoreError, StoreUnavailable
from ..forking import OnePerProcess
from ..record import Clock, Outcome, Patch, Record, utc_now
from .base import Store
from .damage import absent_if_damaged
from .limits import check_limits

Document = dict[str, Any]

# The ID hash has a place and an index of its own and is not the _id, which cannot change: so a rename
# is one update of one document. Each write names the index that it uses. That keeps it from working,
# slowly and without a unique ID hash, on a collection that setup() has not made.
_ID_HASH_INDEX = "id_hash"
_OWNER_INDEX = "owner"
_EXPIRY_INDEX = "expires_at"

_INDEXES: tuple[tuple[str, Document], ...] = (
    (_ID_HASH_INDEX, {"keys": "id_hash", "unique": True}),
    # The server's reaper runs once a minute; nothing here waits for it.
    (_EXPIRY_INDEX, {"keys": "expires_at", "expireAfterSeconds": 0}),
    (_OWNER_INDEX, {"keys": "owner", "sparse": True}),
)

_IS_OWN = {"$eq": [{"$indexOfBytes": ["$$field.k", "wsgisessions%2E"]}, 0]}
_FIELDS_ARE_OWN = {"$map": {"input": {"$objectToArray": "$fields"}, "as": "field", "in": _IS_OWN}}
_IF_EMPTY: Document = {"owner": {"$exists": False}, "$expr": {"$allElementsTrue": [_FIELDS_ARE_OWN]}}

_UNACKNOWLEDGED = "MongoDBStore needs to know what became of each write; leave w=0 out"

_MISSING_INDEX = 2
_UNAUTHORIZED = {13, 18}
_PASSING_CODES = {14031, 50, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436}


class MongoDBStore(Store):
    """Sessions in one collection, each method one command on one document.

    The collection's indexes must be made once by `setup()`, in a deployment script or at the app's start.
    What an acknowledged write survives is the URL's write concern: `w=majority&journal=true` is for those
    that must survive a server's death. Times are kept to the millisecond.

    :param server: a `mongodb://` or `mongodb+srv://` URL, or a `pymongo.MongoClient` that is already there.
    :param database: the database; by default the URL's or the client's, or else `wsgisessions`.
    :param collection: the collection.
    :param max_connections: how many connections a process opens to each server at most.
    :param timeout: how many seconds a method waits for a server and its answer before
        `StoreUnavailable`. For a client that was already there, its own time-outs hold.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: an option makes no sense.
    """

    def __init__(
        self,
        server: str | MongoClient[Any],
        *,
        database: str | None = None,
        collection: str = "wsgisessions",
        max_connections: int = 10,
        timeout: float = 5,
        clock: Clock = utc_now,
    ) -> None:
        check_limits(self, timeout=timeout, max_connections=max_connections)
        self._clock = clock
        self._is_ours = isinstance(server, str)
        connect = _connector(server, max_connections, timeout)
        self._collections = OnePerProcess(lambda: _collection(connect(), database, collection))

    def create(self, id_hash: str, record: Record) -> bool:
        """Store a new session; one command, and two more where the ID hash is taken by an expired one."""
        document = {
            "fields": {_escape(name): text for name, text in record.fields.items()},
            "created_at": record.created_at,
            "touched_at": record.touched_at,
            "expires_at": record.expires_at,
        }
        if record.owner is not None:
            document["owner"] = record.owner
        while True:
            try:
                with self._collection() as collection:
                    result = collection.update_one(
                        self._live(id_hash),
                        {"$setOnInsert": document | {"id_hash": id_hash}},
                        upsert=True,
                        hint=_ID_HASH_INDEX,
                    )
                return result.upserted_id is not None
            except StoreError as error:
                if not isinstance(error.__cause__, errors.DuplicateKeyError):
                    raise
            if not self._delete({"id_hash": id_hash, "expires_at": {"$lte": self._clock()}}):
                return False

    def load(self, id_hash: str) -> Record | None:
        """Return a session, or None if it is absent or expired."""
        with self._collection() as collection:
            document = collection.find_one({"id_hash": id_hash})
        record = None if document is None else _to_record(document)
        return None if record is None or record.expires_at <= self._clock() else record

    def update(self, id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch, whole or not at all; one command, and another to explain a failure."""
        return self._patch(id_hash, None, patch)

    def rename(self, id_hash: str, new_id_hash: str, patch: Patch) -> Outcome:
        """Apply a patch and move the session to a new ID hash, in one command."""
        try:
            return self._patch(id_hash, new_id_hash, patch)
        except StoreError as error:
            if isinstance(error.__cause__, errors.DuplicateKeyError):
                return Outcome.CONFLICT
            raise

    def delete(self, id_hash: str, *, if_empty: bool = False) -> bool:
        """Delete a session, and tell whether there was one."""
        return self._delete(self._live(id_hash) | (_IF_EMPTY if if_empty else {}))

    def delete_expired(self, limit: int = 1000) -> int:
        """Delete expired sessions, the longest expired first, and return how many.

        The server does so too, within a minute or two.
        """
        is_expired = {"expires_at": {"$lte": self._clock()}}
        with self._collection() as collection:
            oldest = collection.find(is_expired, {"_id": 1}, sort={"expires_at": 1}, limit=limit)
            ids = [document["_id"] for document in oldest]
            return collection.delete_many({"_id": {"$in": ids}, **is_expired}).deleted_count if ids else 0

    def acquire(self, id_hash: str, token: str, lease: timedelta) -> bool:
        """Take the lease on a session until `lease` from now."""
        now = self._clock()
        is_free = [{"lease_until": {"$exists": False}}, {"lease_until": {"$lte": now}}, {"lease_token": token}]
        return self._update(
            self._live(id_hash) | {"$or": is_free}, {"$set": {"lease_token": token, "lease_until": now + lease}}
        )

    def release(self, id_hash: str, token: str) -> bool:
        """Let go of a lease."""
        held = {"id_hash": id_hash, "lease_token": token, "lease_until": {"$gt": self._clock()}}
        return self._update(held, {"$unset": {"lease_token": "", "lease_until": ""}})

    def find(self, owner: str) -> Iterator[tuple[str, Record]]:
        """Yield an owner's live sessions with their ID hashes."""
        with self._collection() as collection:
            documents = collection.find({"owner": owner}).to_list()
        now = self._clock()
        for document in documents:
            record = _to_record(document)
            if record is not None and record.expires_at > now:
                yield document["id_hash"], record

    def delete_owner(self, owner: str, *, keep: str | None = None) -> int:
        """Delete an owner's live sessions, all but one, and return how many."""
        mine = {"owner": owner, "id_hash": {"$ne": keep}, "expires_at": {"$gt": self._clock()}}
        with self._collection() as collection:
            return collection.delete_many(mine, hint=_OWNER_INDEX).deleted_count

    def setup(self) -> None:
        """Create the collection's indexes, those of them that are absent."""
        with self._collection() as collection:
            for name, options in _INDEXES:
                collection.create_index(name=name, **options)

    def close(self) -> None:
        """Close this process's connections, if the store opened them."""
        collection = self._collections.take() if self._is_ours else None
        if collection is not None:
            collection.database.client.close()

    def _patch(self, id_hash: str, new_id_hash: str | None, patch: Patch) -> Outcome:
        found = self._live(id_hash)
        for name, text in patch.expect.items():
            found["fields." + _escape(name)] = {"$exists": False} if text is None else text
        if patch.token is not None:
            found |= {"lease_token": patch.token, "lease_until": {"$gt": self._clock()}}
        assigned: Document = {"fields." + _escape(name): text for name, text in patch.set.items()}
        unset = {"fields." + _escape(name): "" for name in patch.remove if name not in patch.set}
        if patch.expires_at is not None:
            assigned |= {"touched_at": self._clock(), "expires_at": patch.expires_at}
        if patch.owner is not None:
            assigned["owner"] = patch.owner
        assigned["id_hash"] = id_hash if new_id_hash is None else new_id_hash
        if self._update(found, {"$set": assigned} | ({"$unset": unset} if unset else {})):
            return Outcome.DONE
        may_conflict = patch.expect or patch.token is not None
        return Outcome.CONFLICT if may_conflict and self.load(id_hash) is not None else Outcome.GONE

    # --- commands

    def _live(self, id_hash: str) -> Document:
        return {"id_hash": id_hash, "expires_at": {"$gt": self._clock()}}

    def _update(self, found: Document, change: Document) -> bool:
        with self._collection() as collection:
            return collection.update_one(found, change, hint=_ID_HASH_INDEX).matched_count == 1

    def _delete(self, found: Document) -> bool:
        with self._collection() as collection:
            return collection.delete_one(found, hint=_ID_HASH_INDEX).deleted_count == 1

    @contextmanager
    def _collection(self) -> Iterator[Collection[Document]]:
        try:
            yield self._collections.get()
        except (errors.PyMongoError, BSONError) as error:
            raise _explain(error) from error


def _connector(server: object, max_connections: int, timeout: float) -> Callable[[], MongoClient[Any]]:
    """Return what makes a process's client."""
    if isinstance(server, str):
        if not server.startswith(("mongodb://", "mongodb+srv://")):
            raise ConfigurationError("a MongoDB URL is mongodb://host/database or mongodb+srv://host/database")
        if server.startswith("mongodb://"):  # the other form asks a name server
            try:
                parse_uri(server)
            except (errors.PyMongoError, ValueError, OSError):
                # The cause would quote a part of the password.
                raise ConfigurationError(
                    "MongoDBStore cannot read its URL, which is mongodb://user:password@host:27017/database?option=value"
                    " with %XX for what is special in the password"
                ) from None
        if any((name.lower(), value) == ("w", "0") for name, value in parse_qsl(urlsplit(server).query)):
            raise ConfigurationError(_UNACKNOWLEDGED)
        return lambda: MongoClient(
            server,
            tz_aware=True,
            appname="wsgisessions",
            maxPoolSize=max_connections,
            timeoutMS=round(timeout * 1000),
            serverSelectionTimeoutMS=round(timeout * 1000),
            connectTimeoutMS=round(timeout * 1000),
        )
    if hasattr(type(server), "get_default_database"):
        if not cast("MongoClient[Any]", server).write_concern.acknowledged:
            raise ConfigurationError(_UNACKNOWLEDGED)
        return lambda: cast("MongoClient[Any]", server)
    raise ConfigurationError(
        f"MongoDBStore takes a mongodb:// URL or a pymongo.MongoClient; got {type(server).__name__}"
    )


def _collection(client: MongoClient[Any], database: str | None, collection: str) -> Collection[Document]:
    chosen = client.get_default_database("wsgisessions") if database is None else client[database]
    options = chosen.codec_options.with_options(tz_aware=True, tzinfo=timezone.utc)
    # A secondary may not know yet that a session was logged out.
    return chosen.get_collection(collection, codec_options=options, read_preference=ReadPreference.PRIMARY)


def _explain(error: errors.PyMongoError | BSONError) -> StoreError:
    code = getattr(error, "code", None)
    if code == _MISSING_INDEX and "hint" in str(error):
        return StoreError("the collection of sessions or an index of it is missing; call MongoDBStore.setup() once")
    if code in _UNAUTHORIZED:
        return StoreError(f"MongoDB refused the connection or a command ({code})")
    if isinstance(error, errors.ConnectionFailure) or getattr(error, "timeout", False) or code in _PASSING_CODES:
        return StoreUnavailable(f"MongoDB cannot serve now: {type(error).__name__}")
    # The server's text may quote what it was given.
    return StoreError(f"MongoDB failed: {type(error).__name__} ({code})")


def _escape(name: str) -> str:
    """Return the name that a field has in a document, where dots, dollars and emptiness mean something."""
    return name.replace("%", "%25").replace(".", "%2E").replace("$", "%24") or "%"


def _unescape(name: str) -> str:
    if name.isalnum() and name.isascii():
        return name
    plain = "" if name == "%" else unquote(name)
    if _escape(plain) != name:
        raise ValueError  # no patch could name it
    return plain


@absent_if_damaged
def _to_record(document: Mapping[str, Any]) -> Record:
    fields = {_unescape(name): text for name, text in document["fields"].items()}
    created_at, touched_at, expires_at = times = [document[name] for name in ("created_at", "touched_at", "expires_at")]
    owner = document.get("owner")
    # A document may hold anything.
    if not all(isinstance(text, str) for text in fields.values()) or not isinstance(owner, str | None):
        raise TypeError
    if not all(isinstance(instant, datetime) for instant in times):
        raise TypeError
    return Record(fields, created_at, touched_at, expires_at, owner)
