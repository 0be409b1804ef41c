"""The API as a user's type checker sees it; mypy --strict and pyright check this file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from flask import Flask
from typing_extensions import assert_type

from wsgisessions import (
    AtDateTime,
    CachingStore,
    Cookie,
    Header,
    JSONCodec,
    MemoryStore,
    MongoDBStore,
    MySQLStore,
    OnInactivity,
    OnSessionEnd,
    PostgresStore,
    RedisStore,
    Session,
    SessionInfo,
    SessionManager,
    SessionMiddleware,
    SQLiteStore,
    Store,
    get_session,
    merge,
    open_store,
)
from wsgisessions.flask import Sessions

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@dataclass
class Guest:
    views: int = 0


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


def to_json(money: Money) -> int:
    return money.cents


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    session = get_session(environ)
    assert_type(session, Session)
    session["n"] = 1
    assert_type(session["n"], Any)
    assert_type(session.get("n", type=int), int | None)
    assert_type(session.get("n", 0, type=int), int)
    assert_type(session.get("names", type=list[str]), list[str] | None)
    assert_type(session.bucket(Guest), Guest)
    assert_type(session.bucket(Guest, "other").views, int)
    assert_type(session.bucket(Guest, "other", on_mismatch="reset"), Guest)
    assert_type(session.id, str | None)
    assert_type(session.owner, str | None)
    assert_type(session.created_at, datetime | None)
    assert_type(session.expires_in, timedelta | None)
    session.expiry = OnInactivity(timedelta(minutes=30), absolute=timedelta(hours=12))
    session.expiry = AtDateTime(datetime(2030, 1, 1, tzinfo=timezone.utc))
    with session.lock(timeout=5, lease=10):
        session["n"] += 1
    session.login("ann")
    session.logout()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"typed"]


store: Store = open_store("memory://")
wrapped = SessionMiddleware(
    app,
    SQLiteStore("sessions.db"),
    expiry=OnSessionEnd(idle=timedelta(weeks=2)),
    transport=Cookie(name="__Host-id", same_site="Strict"),
    max_bytes=100_000,
    on_conflict="refuse",
    merges={"n": merge.add, "best": lambda base, mine, theirs: max(mine, theirs)},
)
nested = SessionMiddleware(wrapped, MemoryStore(max_sessions=10), environ_key="second")
manager = SessionManager(store)
assert_type(manager.open(None), Session)
assert_type(manager.revoke_all("ann"), int)

secret_keys = ["a secret key" * 3]
account = SessionManager(MemoryStore(), encryption_keys=secret_keys, max_per_owner=3, keep_client="plain")
SessionMiddleware(
    app, MemoryStore(), encryption_keys=[b"a secret key" * 3], read_plain_until=datetime.now(timezone.utc)
)
assert_type(account.sessions("ann"), list[SessionInfo])
assert_type(account.revoke("handle"), bool)
assert_type(account.open().revoke_others(), int)
SessionMiddleware(app, MemoryStore(), transport=[Header(), Cookie(signing_keys=secret_keys)])
SessionMiddleware(
    app,
    MemoryStore(),
    transport=Cookie(
        secure="auto",
        path=lambda environ: environ.get("SCRIPT_NAME") or "/",
        domain=lambda environ: {"shop.example.org": "example.org"}.get(environ["HTTP_HOST"]),
    ),
)

own_types = {Money: (to_json, Money)}
JSONCodec(types=own_types)
JSONCodec(types={Money: (lambda money: money.cents, Money, "money"), Guest: (lambda guest: guest.views, Guest)})

flask_app = Flask(__name__)
Sessions(flask_app, store)
assert_type(Sessions.manager(flask_app), SessionManager)


def use_stores() -> None:
    stores: list[Store] = [
        RedisStore("redis://localhost", prefix="shop:"),
        PostgresStore("postgresql://localhost/shop", schema="web", prepare=False),
        MySQLStore("mysql://localhost/shop", max_connections=5),
        MongoDBStore("mongodb://localhost", collection="sessions"),
    ]
    cached = CachingStore(MemoryStore(), stores[0], max_age=timedelta(seconds=30))
    manager = SessionManager(cached)
    assert_type(manager.purge(), int)
    manager.purge(every=timedelta(minutes=10)).stop()
