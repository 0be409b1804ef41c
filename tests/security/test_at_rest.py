"""Every byte of every engine's storage, read after a run: no ID that is alive, no value, no key of encryption."""

import base64
import hashlib
import secrets
from pathlib import Path

import pytest

from wsgisessions import Cookie, SQLiteStore, open_store

VALUE = "attack at dawn, by the old mill"
OPTIONS = {"redis": ["--appendonly", "yes", "--rdbcompression", "no"]}


def all_bytes(folder):
    """Return what is in all files below a folder."""
    return b"".join(path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file())


def all_documents(server):
    """Return MongoDB's documents, for its files are compressed."""
    from pymongo import MongoClient

    with MongoClient(server.url) as client:
        database = client.get_default_database()
        found = [list(database[name].find()) for name in database.list_collection_names()]
    return repr(found).encode()


FLUSHES = {
    "redis": lambda server: server.run("SAVE"),
    "postgres": lambda server: server.run("CHECKPOINT"),
    "mysql": lambda server: server.run("FLUSH TABLES wsgisessions FOR EXPORT"),
    "mongodb": lambda server: None,
}


@pytest.fixture(params=["sqlite", *FLUSHES])
def engine(request, tmp_path, server_class):
    """Return a store, and a function that returns all bytes of its storage."""
    kind = request.param
    if kind == "sqlite":
        yield SQLiteStore(tmp_path / "sessions.db"), lambda: all_bytes(tmp_path)
        return
    with server_class(kind)(*OPTIONS.get(kind, [])) as server:
        store = open_store(server.url)
        if hasattr(store, "setup"):
            store.setup()

        def stored():
            FLUSHES[kind](server)
            documents = all_documents(server) if kind == "mongodb" else b""
            store.close()
            return all_bytes(server.folder) + documents

        yield store, stored


def forms(secret):
    """Return how a secret might be written."""
    return [secret.encode(), secret.encode().hex().encode(), base64.b64encode(secret.encode())[:-4]]


@pytest.mark.parametrize("encrypts", [False, True], ids=["plain", "encrypted"])
def test_no_id_is_in_the_storage(engine, encrypts, make_browser, caplog):
    store, stored = engine
    key = secrets.token_urlsafe(32)
    options = {"encryption_keys": [key]} if encrypts else {}
    transport = Cookie(signing_keys=[key])
    ids = []
    for number in range(5):
        browser = make_browser(store, transport=transport, **options)
        browser.get(lambda session: session.update(plan=VALUE))
        ids.append(browser.get(lambda session: session.id).result)
        browser.get(lambda session, number=number: session.login(f"ann-{number}"))
        browser.get(lambda session: session.cycle_id())
        ids.append(browser.get(lambda session: session.id).result)

    data = stored()
    # What should be found is, so what should not could be.
    assert hashlib.sha256(ids[-1].encode()).hexdigest().encode() in data
    assert b"ann-4" in data
    assert (VALUE.encode() in data) == (not encrypts)
    for session_id in ids:
        assert not any(form in data for form in forms(session_id))
        assert session_id not in caplog.text
    assert not any(form in data for form in forms(key))
