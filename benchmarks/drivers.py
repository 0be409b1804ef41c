"""The drivers that stores.py measures a session against: the bare commands for a session's work, by kind of server."""

from collections.abc import Callable
from datetime import datetime, timezone
from urllib.parse import urlsplit

from wsgisessions import SessionManager, open_store
from wsgisessions.session_ids import SessionID
from wsgisessions.stores import Store

TABLE = "wsgisessions"

Command = Callable[[], object]
Commands = tuple[Command, Command]
"""What reads, and what reads and writes."""


class Counter:
    """A number that is another one at each look, as JSON: a write that changes nothing costs less."""

    value = 0

    def next(self) -> str:
        self.value += 1
        return str(self.value)


def redis_commands(url: str, id_hash: str) -> Commands:
    import redis

    from wsgisessions.stores.redis import _patch

    client, number, name = redis.Redis.from_url(url, decode_responses=True), Counter(), f"{TABLE}:{id_hash}"
    patch = ("", 0, 0, "", "", 0)

    def read():
        return client.hgetall(name)

    def write():
        read()
        client.evalsha(_patch.sha, 1, name, f"{TABLE}:owner:", *patch, "=n", number.next())

    return read, write


def postgres_commands(url: str, id_hash: str) -> Commands:
    import psycopg

    from wsgisessions.stores import postgres

    def statement(template: str) -> bytes:
        return template.replace("{table}", TABLE).encode()

    connection, number = psycopg.connect(url, autocommit=True), Counter()
    load = statement(postgres._LOAD)
    update = statement(postgres._UPDATE + postgres._SET_FIELDS + postgres._IF_LIVE)

    def read():
        return connection.execute(load, (id_hash, _now())).fetchone()

    def write():
        read()
        fields = f'{{"n":"{number.next()}"}}'
        connection.execute(update, {"remove": [], "set": fields, "id_hash": id_hash, "now": _now()})

    return read, write


def mysql_commands(url: str, id_hash: str) -> Commands:
    import pymysql

    from wsgisessions.stores import mysql

    parts, number = urlsplit(url), Counter()
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path.strip("/"),
        autocommit=True,
    )
    load = mysql._LOAD.replace("{table}", TABLE)
    update = mysql._UPDATE + mysql._SET_FIELDS + mysql._IF_LIVE
    update = update.replace("{table}", TABLE).replace("{kept}", "fields")

    def read():
        cursor = connection.cursor()
        cursor.execute(load, {"id_hash": id_hash, "now": _now().replace(tzinfo=None)})
        return cursor.fetchone()

    def write():
        read()
        fields = f'{{"n":"{number.next()}"}}'
        connection.cursor().execute(update, {"id_hash": id_hash, "now": _now().replace(tzinfo=None), "set": fields})

    return read, write


def mongodb_commands(url: str, id_hash: str) -> Commands:
    import pymongo

    from wsgisessions.stores.mongodb import _ID_HASH_INDEX

    collection, number = pymongo.MongoClient(url).get_default_database()[TABLE], Counter()

    def live():
        return {"id_hash": id_hash, "expires_at": {"$gt": _now()}}

    def read():
        return collection.find_one({"id_hash": id_hash})

    def write():
        read()
        collection.update_one(live(), {"$set": {"fields.n": number.next(), "id_hash": id_hash}}, hint=_ID_HASH_INDEX)

    return read, write


def session_commands(store: Store) -> tuple[str, Commands]:
    """Make a session; return its ID hash, and the session layer's commands for the same work."""
    manager = SessionManager(store)
    session = manager.open()
    session.update(n=0, user="ann")
    session.save()
    session_id = session.id

    def read():
        return manager.open(session_id)["user"]

    def write():
        session = manager.open(session_id)
        session["n"] += 1
        session.save()

    return SessionID(session_id).id_hash, (read, write)


def _now() -> datetime:
    return datetime.now(timezone.utc)


DRIVERS = {
    "Redis": redis_commands,
    "PostgreSQL": postgres_commands,
    "MariaDB": mysql_commands,
    "MongoDB": mongodb_commands,
}


def opponents(kind: str, url: str) -> tuple[Commands, Commands]:
    """Return the driver's commands and ours, on the same session."""
    store = open_store(url)
    store.setup()
    id_hash, ours = session_commands(store)
    ours[1]()  # The server learns the script.
    return DRIVERS[kind](url, id_hash), ours
