"""What many tests use: stores, one that remembers its commands among them, and a browser that speaks bare WSGI."""

import gc
import logging
import os
import secrets
import threading
from datetime import timedelta
from wsgiref.validate import validator

import pytest
from hypothesis import settings
from servers import KINDS, SharedServers, left_out
from webtest import TestApp

from wsgisessions import (
    CachingStore,
    MemoryStore,
    MongoDBStore,
    MySQLStore,
    PostgresStore,
    RedisStore,
    SessionMiddleware,
    SQLiteStore,
    get_session,
)
from wsgisessions.testing import ManualClock

STORES = {
    "redis": (RedisStore, "prefix"),
    "redis_cluster": (RedisStore, "prefix"),
    "postgres": (PostgresStore, "table"),
    "mysql": (MySQLStore, "table"),
    "mongodb": (MongoDBStore, "collection"),
}


settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


class RecordingStore(MemoryStore):
    """A memory store that remembers which commands it was given, and the patches."""

    def __init__(self, **options):
        super().__init__(**options)
        self.commands = []
        self.patches = []

    def create(self, id_hash, record):
        self.commands.append("create")
        return super().create(id_hash, record)

    def load(self, id_hash):
        self.commands.append("load")
        return super().load(id_hash)

    def update(self, id_hash, patch):
        self.commands.append("update")
        self.patches.append(patch)
        return super().update(id_hash, patch)

    def rename(self, id_hash, new_id_hash, patch):
        self.commands.append("rename")
        self.patches.append(patch)
        return super().rename(id_hash, new_id_hash, patch)

    def delete(self, id_hash, *, if_empty=False):
        self.commands.append("delete if empty" if if_empty else "delete")
        return super().delete(id_hash, if_empty=if_empty)

    def taken(self):
        """Return the commands since the last call."""
        commands, self.commands = self.commands, []
        return commands


class Browser:
    """Visits a WSGI app over https with a cookie jar; every exchange is checked by WebTest's lint."""

    def __init__(self, store=None, view=None, **options):
        self.store = RecordingStore() if store is None else store
        self.view = view
        self.middleware = SessionMiddleware(self._app, self.store, **options)
        self.test_app = TestApp(validator(self.middleware))
        self.environ = {"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}
        self.cookie = ""

    def _app(self, environ, start_response):
        return self.view(environ, start_response)

    def get(self, view=None, *, cookie=None, status="200 OK", headers=(), method="GET"):
        """Visit with a function of the session as the view; keep the cookie that comes back."""
        result = []

        def app(environ, start_response):
            result.append(view(get_session(environ)) if view else None)
            start_response(status, [("Content-Type", "text/plain"), *headers])
            return [] if method == "HEAD" else [b"body"]

        self.view = app
        return self._visit(cookie, method, result)

    def run(self, app, *, cookie=None, method="GET"):
        """Visit a WSGI app."""
        self.view = app
        return self._visit(cookie, method, [])

    def _visit(self, cookie, method, result):
        sent = self.cookie if cookie is None else cookie
        response = self.test_app.request(
            "/",
            method=method,
            environ=self.environ,
            headers={"Cookie": sent} if sent else {},
            status="*",
        )
        for header in response.headers.getall("Set-Cookie"):
            self.cookie = "" if "; Max-Age=0;" in header else header.partition(";")[0]
        if hasattr(self.store, "taken"):
            response.commands = self.store.taken()
        response.result = result[0] if result else None
        return response

    @property
    def session_id(self):
        """Return the ID in the cookie."""
        return self.cookie.partition("=")[2]


@pytest.fixture
def clock():
    """Return a clock to set by hand."""
    return ManualClock()


@pytest.fixture
def log(caplog):
    """Return a function that gives what the package has told the log in this test."""
    caplog.set_level(logging.INFO, "wsgisessions")

    def told():
        for thread in threading.enumerate():
            if thread.name == "wsgisessions log":
                thread.join()
        return [record.getMessage() for record in caplog.records if record.name == "wsgisessions"]

    gc.collect()  # what other tests have left
    told()
    caplog.clear()
    return told


@pytest.fixture
def browser():
    """Return a browser on an app with a recording memory store."""
    return Browser()


@pytest.fixture
def make_browser():
    """Return a maker of browsers."""
    return Browser


@pytest.fixture
def make_recording_store():
    """Return a maker of recording stores."""
    return RecordingStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """Yield a store of each engine in turn."""
    store = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "sessions.db")
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite", "cached", *STORES])
def any_store(request, tmp_path):
    """Yield a store of every engine in turn, servers too."""
    kind = request.param
    if kind == "memory":
        store = MemoryStore()
    elif kind == "sqlite":
        store = SQLiteStore(tmp_path / "sessions.db")
    elif kind == "cached":
        store = CachingStore(MemoryStore(), SQLiteStore(tmp_path / "sessions.db"), max_age=timedelta(minutes=1))
    else:
        store = request.getfixturevalue("open_fresh")(kind, request.getfixturevalue("server_url")(kind))
    yield store
    store.close()


@pytest.fixture
def open_fresh():
    """Return a function that opens an empty store of a kind on a server, and sets it up.

    Each has a table, collection or prefix of its own.
    """
    stores = []

    def open_fresh(kind, server, *, setup=True, **options):
        store_class, name = STORES[kind]
        store = store_class(server, **{name: f"sessions_{secrets.token_hex(4)}", **options})
        stores.append(store)
        if setup:
            store.setup()
        return store

    yield open_fresh
    for store in stores:
        store.close()


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        shared_servers = SharedServers.of_this_run()
        shared_servers.__enter__()
        config.add_cleanup(lambda: shared_servers.__exit__(None, None, None))


def pytest_terminal_summary(terminalreporter):
    if notice := left_out():
        terminalreporter.write_line(notice)


@pytest.fixture(scope="session")
def server_class():
    """Return a function that gives the class of a kind of server, to start one of one's own.

    A server that is not installed leaves its tests out; in continuous integration it is an error.
    """

    def server_class(kind):
        if missing := KINDS[kind].missing():
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"{' and '.join(missing)} not found; install {KINDS[kind].package}")
        return KINDS[kind]

    return server_class


@pytest.fixture(scope="session")
def server_url(server_class):
    """Return a function that gives the URL of this run's server of a kind, and starts it when it is the first."""

    def server_url(kind, zone=None):
        server_class(kind)
        return SharedServers().url(kind, zone)

    return server_url
