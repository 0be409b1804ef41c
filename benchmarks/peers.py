"""The contestants of overhead.py: each makes WSGI apps with a session layer, and the same without.

An app is asked by its PATH_INFO: `/untouched`, `/read` or `/write`.
"""

import hmac
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

App = Callable[[dict, Callable], Iterable[bytes]]


@dataclass
class Contestant:
    """A session layer under test, and the app that tells what the rest of the request costs."""

    name: str
    kind: str
    app: App
    bare: App


def plain_app(session_of: Callable[[dict], Any], save: Callable[[Any], None] = lambda session: None) -> App:
    """Return a WSGI app that uses the session which `session_of` finds in the environ."""

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/read":
            session_of(environ).get("n")
        elif path == "/write":
            session = session_of(environ)
            session["n"] = session.get("n", 0) + 1
            save(session)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"body"]

    return app


def bare_app(environ, start_response):
    """Answer as `plain_app` does, without any session."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"body"]


def wsgisessions_memory(folder: Path) -> Contestant:
    from wsgisessions import MemoryStore, SessionMiddleware, get_session

    return Contestant("wsgisessions", "memory", SessionMiddleware(plain_app(get_session), MemoryStore()), bare_app)


def wsgisessions_sqlite(folder: Path) -> Contestant:
    from wsgisessions import SessionMiddleware, SQLiteStore, get_session

    store = SQLiteStore(folder / "wsgisessions.db")
    return Contestant("wsgisessions", "SQLite", SessionMiddleware(plain_app(get_session), store), bare_app)


def beaker_memory(folder: Path) -> Contestant:
    from beaker.middleware import SessionMiddleware

    app = plain_app(lambda environ: environ["beaker.session"], lambda session: session.save())
    return Contestant("Beaker", "memory", SessionMiddleware(app, {"session.type": "memory"}), bare_app)


def beaker_file(folder: Path) -> Contestant:
    from beaker.middleware import SessionMiddleware

    app = plain_app(lambda environ: environ["beaker.session"], lambda session: session.save())
    options = {"session.type": "file", "session.data_dir": str(folder / "beaker")}
    return Contestant("Beaker", "file", SessionMiddleware(app, options), bare_app)


def flask_app(name: str, set_up: Callable[[Any], None]) -> App:
    from flask import Flask, session
    from flask.sessions import SessionInterface

    class NoSession(SessionInterface):
        def open_session(self, app, request):
            return self.make_null_session(app)

    app = Flask(name)
    app.session_interface = NoSession()
    set_up(app)
    app.add_url_rule("/untouched", "untouched", lambda: "body")
    app.add_url_rule("/bare", "bare", lambda: "body")
    app.add_url_rule("/read", "read", lambda: (session.get("n"), "body")[1])

    @app.get("/write")
    def write():
        session["n"] = session.get("n", 0) + 1
        return "body"

    return app


def bare_flask() -> App:
    app = flask_app("bare", lambda app: None)
    return lambda environ, start_response: app({**environ, "PATH_INFO": "/bare"}, start_response)


def wsgisessions_flask(folder: Path) -> Contestant:
    from wsgisessions import MemoryStore
    from wsgisessions.flask import Sessions

    app = flask_app("ours", lambda app: Sessions(app, MemoryStore()))
    return Contestant("wsgisessions in Flask", "memory", app, bare_flask())


def flask_session_memory(folder: Path) -> Contestant:
    from cachelib import SimpleCache
    from flask_session import Session

    def set_up(app):
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache(), SESSION_PERMANENT=False)
        Session(app)

    return Contestant("Flask-Session", "memory", flask_app("memory", set_up), bare_flask())


def flask_session_file(folder: Path) -> Contestant:
    from cachelib import FileSystemCache
    from flask_session import Session

    def set_up(app):
        cache = FileSystemCache(str(folder / "flask"))
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache, SESSION_PERMANENT=False)
        Session(app)

    return Contestant("Flask-Session", "file", flask_app("file", set_up), bare_flask())


def flask_session_sqlalchemy(folder: Path) -> Contestant:
    from flask_session import Session
    from flask_sqlalchemy import SQLAlchemy

    def set_up(app):
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/flask.db"
        database = SQLAlchemy(app)
        app.config.update(SESSION_TYPE="sqlalchemy", SESSION_SQLALCHEMY=database, SESSION_PERMANENT=False)
        Session(app)

    return Contestant("Flask-Session", "SQLite", flask_app("sqlalchemy", set_up), bare_flask())


def _django(folder: Path, kind: str, engine: str) -> Contestant:
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            SECRET_KEY="benchmark",
            INSTALLED_APPS=["django.contrib.sessions"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "django.db")}},
            CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
            SESSION_FILE_PATH=str(folder),
        )
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    from django.contrib.sessions.middleware import SessionMiddleware
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpResponse

    def view(request):
        if request.path == "/read":
            request.session.get("n")
        elif request.path == "/write":
            request.session["n"] = request.session.get("n", 0) + 1
        return HttpResponse("body", content_type="text/plain")

    def wsgi(get_response):
        def app(environ, start_response):
            response = get_response(WSGIRequest(environ))
            cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
            start_response("200 OK", [*response.items(), *cookies])
            return response

        return app

    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    with_sessions = wsgi(SessionMiddleware(view))
    bare = wsgi(lambda request: HttpResponse("body", content_type="text/plain"))
    return Contestant("Django", kind, with_sessions, bare)


def django_memory(folder: Path) -> Contestant:
    return _django(folder, "memory", "cache")


def django_file(folder: Path) -> Contestant:
    return _django(folder, "file", "file")


def django_database(folder: Path) -> Contestant:
    return _django(folder, "SQLite", "db")


def secure_cookie_file(folder: Path) -> Contestant:
    import werkzeug.security

    if not hasattr(werkzeug.security, "safe_str_cmp"):
        # Its last release imports a name that Werkzeug has dropped since.
        werkzeug.security.safe_str_cmp = hmac.compare_digest
    from secure_cookie.session import FilesystemSessionStore, SessionMiddleware

    store = FilesystemSessionStore(str(folder))
    app = plain_app(lambda environ: environ["secure_cookie.session"])
    return Contestant("secure-cookie", "file", SessionMiddleware(app, store), bare_app)


MAKERS = {
    wsgisessions_memory: "wsgisessions",
    wsgisessions_sqlite: "wsgisessions",
    beaker_memory: "beaker",
    beaker_file: "beaker",
    django_memory: "django",
    django_file: "django",
    django_database: "django",
    secure_cookie_file: "secure_cookie",
    wsgisessions_flask: "flask",
    flask_session_memory: "flask_session",
    flask_session_file: "flask_session",
    flask_session_sqlalchemy: "flask_session",
}


def contestants(folder: Path) -> list[Contestant]:
    """Return those whose packages are installed and work; say which are left out, and why."""
    found = []
    for make, package in MAKERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"left out: {make.__name__} ({package} is not installed)")
            continue
        try:
            found.append(make(folder))
        except Exception as error:
            print(f"left out: {make.__name__} ({type(error).__name__}: {error})")
    return found
