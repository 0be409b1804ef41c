"""The contestants of stores.py: session layers on a server or a SQLite file.

An app is asked by its PATH_INFO: `/untouched`, `/read`, `/write`; or `/use`, where it hands its session to the function
that the environ has under `USE`.
"""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from peers import App, Contestant, bare_app, bare_flask, flask_app, plain_app

USE = "benchmark.use"


def usable_app(session_of: Callable[[dict], Any], save: Callable[[Any], None] = lambda session: None) -> App:
    """Return peers.py's app, which also knows `/use`."""
    plain = plain_app(session_of, save)

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/use":
            session = session_of(environ)
            environ[USE](session)
            save(session)
        return plain(environ, start_response)

    return app


def wsgisessions(kind: str, url: str) -> Contestant:
    from wsgisessions import SessionMiddleware, get_session, open_store

    store = open_store(url)
    store.setup()
    return Contestant("wsgisessions", kind, SessionMiddleware(usable_app(get_session), store), bare_app)


def beaker(kind: str, url: str) -> Contestant:
    from beaker.middleware import SessionMiddleware

    app = usable_app(lambda environ: environ["beaker.session"], lambda session: session.save())
    return Contestant(
        "Beaker", kind, SessionMiddleware(app, {"session.type": "ext:redis", "session.url": url}), bare_app
    )


def _flask_session(kind: str, options_for: Callable[[Any], dict]) -> Contestant:
    from flask import request, session
    from flask_session import Session

    def set_up(app):
        app.config.update(SESSION_PERMANENT=False, **options_for(app))
        Session(app)
        app.add_url_rule("/use", "use", lambda: (request.environ[USE](session), "body")[1])

    return Contestant("Flask-Session", kind, flask_app(kind, set_up), bare_flask())


def flask_session_redis(kind: str, url: str) -> Contestant:
    from redis import Redis

    return _flask_session(kind, lambda app: {"SESSION_TYPE": "redis", "SESSION_REDIS": Redis.from_url(url)})


def flask_session_sqlalchemy(kind: str, url: str) -> Contestant:
    from flask_sqlalchemy import SQLAlchemy

    def options_for(app):
        app.config["SQLALCHEMY_DATABASE_URI"] = url.replace("postgresql:", "postgresql+psycopg:")
        return {"SESSION_TYPE": "sqlalchemy", "SESSION_SQLALCHEMY": SQLAlchemy(app)}

    return _flask_session(kind, options_for)


def pyramid_session_redis(kind: str, url: str) -> Contestant:
    from pyramid.config import Configurator
    from pyramid.response import Response
    from pyramid_session_redis import RedisSessionFactory

    def pyramid_app(view, **options):
        config = Configurator(**options)
        config.add_route("page", "/{page}")
        config.add_view(view, route_name="page")
        return config.make_wsgi_app()

    def view(request):
        _answer(request.path_info, request)
        return Response("body", content_type="text/plain")

    factory = RedisSessionFactory(secret="benchmark", redis_url=url)
    bare = pyramid_app(lambda request: Response("body", content_type="text/plain"))
    return Contestant("pyramid_session_redis", kind, pyramid_app(view, session_factory=factory), bare)


def _answer(path: str, request: Any) -> None:
    """Do with the session of a Pyramid's or Django's request what the path says."""
    if path == "/read":
        request.session.get("n")
    elif path == "/write":
        request.session["n"] = request.session.get("n", 0) + 1
    elif path == "/use":
        request.environ[USE](request.session)


class Router:
    """Tells Django which database to ask."""

    kind = ""

    def db_for_read(self, model, **hints):
        return self.kind

    db_for_write = db_for_read


ROUTER = Router()


def configure_django(urls: Mapping[str, str]) -> None:
    """Tell Django once about all databases and the cache."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    databases: dict[str, dict] = {
        kind: _django_database(urls[kind]) for kind in ("SQLite", "PostgreSQL") if kind in urls
    }
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="benchmark",
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={"default": {}, **databases},
        DATABASE_ROUTERS=[ROUTER],
        CACHES={
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": urls.get("Redis", "")}
        },
    )
    django.setup()
    for kind in databases:
        ROUTER.kind = kind
        call_command("migrate", database=kind, verbosity=0)


def _django_database(url: str) -> dict:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path.removeprefix("/"), "CONN_MAX_AGE": None}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port,
        "CONN_MAX_AGE": None,
    }


def _django(kind: str, engine: str) -> Contestant:
    from django.conf import settings
    from django.contrib.sessions.middleware import SessionMiddleware
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpResponse

    def view(request):
        _answer(request.path, request)
        return HttpResponse("body", content_type="text/plain")

    def wsgi(get_response):
        def app(environ, start_response):
            ROUTER.kind = kind
            response = get_response(WSGIRequest(environ))
            cookies = [("Set-Cookie", cookie.OutputString()) for cookie in response.cookies.values()]
            start_response("200 OK", [*response.items(), *cookies])
            return response

        return app

    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    bare = wsgi(lambda request: HttpResponse("body", content_type="text/plain"))
    return Contestant("Django", kind, wsgi(SessionMiddleware(view)), bare)


def django_cache(kind: str, url: str) -> Contestant:
    return _django(kind, "cache")


def django_database(kind: str, url: str) -> Contestant:
    return _django(kind, "db")


MAKERS = {
    "Redis": (wsgisessions, flask_session_redis, beaker, django_cache, pyramid_session_redis),
    "SQLite": (wsgisessions, flask_session_sqlalchemy, django_database),
    "PostgreSQL": (wsgisessions, flask_session_sqlalchemy, django_database),
}


def contestants_on(urls: Mapping[str, str]) -> dict[str, list[Contestant]]:
    """Return by kind of server those whose packages are installed and work; say which are left out, and why."""
    if importlib.util.find_spec("django"):
        configure_django(urls)
    made = {kind: [_made(make, kind, url) for make in MAKERS[kind]] for kind, url in urls.items()}
    return {kind: [each for each in contestants if each] for kind, contestants in made.items()}


def _made(make: Callable[[str, str], Contestant], kind: str, url: str) -> Contestant | None:
    try:
        return make(kind, url)
    except Exception as error:
        print(f"left out: {make.__name__} on {kind} ({type(error).__name__}: {error})")
        return None
