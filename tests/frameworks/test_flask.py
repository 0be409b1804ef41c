"""`flask.session` is this session, and what Flask's users know of it works."""

import gc
import weakref
from datetime import datetime, timedelta, timezone

import pytest
from flask import Blueprint, Flask, current_app, flash, get_flashed_messages, session, stream_with_context
from flask import session as flask_session

from wsgisessions import (
    ConfigurationError,
    Cookie,
    MemoryStore,
    OnInactivity,
    SessionConflict,
    SessionManager,
    StoreUnavailable,
    merge,
)
from wsgisessions.flask import Sessions
from wsgisessions.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(datetime.now(timezone.utc))


@pytest.fixture
def memory(clock):
    return MemoryStore(clock=clock)


@pytest.fixture
def app(memory, clock):
    app = Flask(__name__)
    app.testing = True
    Sessions(app, memory, clock=clock)

    @app.get("/set/<value>")
    def put(value):
        session["value"] = value
        return "set"

    @app.get("/get")
    def get():
        return session.get("value", "nothing")

    @app.get("/clear")
    def clear():
        session.clear()
        return "cleared"

    @app.get("/untouched")
    def untouched():
        return "untouched"

    @app.get("/permanent")
    def permanent():
        session.permanent = True
        return str(session.permanent)

    return app


@pytest.fixture
def client(app):
    return app.test_client()


def test_it_keeps_values_without_a_secret_key(app, client):
    assert app.secret_key is None
    client.get("/set/x")
    assert client.get("/get").text == "x"


def test_an_untouched_session_sends_nothing(client):
    client.get("/set/x")
    headers = client.get("/untouched").headers
    assert "Vary" not in headers
    assert "Set-Cookie" not in headers


def test_nested_changes_are_found_and_modified_may_still_be_set(app, client):
    @app.get("/append")
    def append():
        session.setdefault("items", []).append(1)
        session.modified = True
        return str(len(session["items"]))

    assert [client.get("/append").text for _ in range(3)] == ["1", "2", "3"]


def test_flasks_attributes(app, client):
    @app.get("/attributes")
    def attributes():
        before = (session.new, session.modified, session.permanent)
        session["a"] = 1
        return {"before": before, "after": (session.new, session.modified, session.permanent)}

    assert client.get("/attributes").json == {"before": [True, False, False], "after": [True, True, False]}
    assert client.get("/attributes").json == {"before": [False, False, False], "after": [False, False, False]}


def test_a_session_stays_modified_after_its_commit(client):
    with client:
        client.get("/set/x")
        assert flask_session.modified
    with client:
        client.get("/get")
        assert not flask_session.modified
    with client:
        client.get("/clear")
        assert flask_session.modified


def test_flash_messages(app, client):
    @app.get("/flash")
    def greet():
        flash("Hello", "greeting")
        return ""

    @app.get("/flashed")
    def show():
        return str(get_flashed_messages(with_categories=True))

    client.get("/flash")
    assert client.get("/flashed").text == "[('greeting', 'Hello')]"
    assert client.get("/flashed").text == "[]"


def test_after_request_handlers_may_write(app, client):
    @app.after_request
    def count(response):
        session["visits"] = session.get("visits", 0) + 1
        return response

    for _ in range(3):
        client.get("/untouched")
    with client.session_transaction() as stored:
        assert stored["visits"] == 3


def test_blueprints(app, client):
    blueprint = Blueprint("more", __name__, url_prefix="/more")

    @blueprint.get("/")
    def view():
        session["from"] = "blueprint"
        return ""

    app.register_blueprint(blueprint)
    client.get("/more/")
    with client.session_transaction() as stored:
        assert stored["from"] == "blueprint"


def test_streaming_with_context(app, client):
    @app.get("/stream")
    def stream():
        session["begun"] = True

        @stream_with_context
        def chunks():
            session["before"] = True
            yield "one"
            session["mid"] = True
            yield "two"

        return chunks()

    with client.get("/stream") as response:
        assert response.text == "onetwo"
    with client.session_transaction() as stored:
        assert dict(stored) == {"begun": True, "before": True, "mid": True}


def test_session_transaction_reads_and_writes(client):
    with client.session_transaction() as stored:
        stored["value"] = "from the test"
    assert client.get("/get").text == "from the test"
    client.get("/set/x")
    with client.session_transaction() as stored:
        assert stored["value"] == "x"
        stored.clear()
    assert client.get("/get").text == "nothing"


def test_the_session_can_be_read_after_the_request(client):
    with client:
        client.get("/set/x")
        assert flask_session["value"] == "x"


def test_a_request_context_of_its_own(app):
    with app.test_request_context():
        assert "a" not in session
        session["a"] = 1
        assert session["a"] == 1


def test_app_factories(memory):
    sessions = Sessions(store=memory)

    def create_app():
        app = Flask(__name__)
        app.config["SESSION_COOKIE_NAME"] = "from_factory"
        sessions.init_app(app)

        @app.get("/")
        def view():
            session["a"] = session.get("a", 0) + 1
            return str(session["a"])

        return app

    first, second = create_app(), create_app()
    client = first.test_client()
    assert client.get("/").text == "1"
    cookie = client.get_cookie("from_factory")
    other = second.test_client()
    other.set_cookie("from_factory", cookie.value)
    assert other.get("/").text == "2"


def test_the_cookies_configuration_is_honoured_also_when_it_comes_late(app, client):
    app.config.update(
        SESSION_COOKIE_NAME="mine",
        SESSION_COOKIE_PATH="/app",
        SESSION_COOKIE_DOMAIN="example.org",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=False,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_PARTITIONED=True,
    )
    cookie = client.get("/set/x").headers["Set-Cookie"]
    assert cookie.startswith("mine=")
    assert cookie.partition("; ")[2] == "Domain=example.org; Secure; Path=/app; SameSite=Strict; Partitioned"


@pytest.mark.parametrize("same_site", ["Lax", "Strict", None])
def test_same_site_is_as_configured(app, client, same_site):
    app.config["SESSION_COOKIE_SAMESITE"] = same_site
    attributes = client.get("/set/x").headers["Set-Cookie"].split("; ")[1:]
    assert attributes == ["HttpOnly", "Path=/", *([f"SameSite={same_site}"] if same_site else [])]


def test_a_configuration_that_makes_no_sense_is_refused_also_when_it_comes_late(app, client):
    app.config["SESSION_COOKIE_SAMESITE"] = "invalid"
    with pytest.raises(ConfigurationError):
        client.get("/set/x")


def test_the_cookie_by_flasks_defaults(client):
    cookie = client.get("/set/x").headers["Set-Cookie"]
    assert cookie.startswith("session=")
    assert cookie.partition("; ")[2] == "HttpOnly; Path=/"


def test_a_transport_goes_before_the_configuration(memory):
    app = Flask(__name__)
    Sessions(app, memory, transport=Cookie("__Host-id"))
    app.add_url_rule("/", view_func=lambda: str(session.setdefault("a", 1)))
    assert app.test_client().get("/").headers["Set-Cookie"].startswith("__Host-id=")


def test_a_permanent_session_lasts_for_its_lifetime(app, client, memory):
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(days=5)
    response = client.get("/permanent")
    assert response.text == "True"
    assert "Max-Age=432000" in response.headers["Set-Cookie"]
    session_id = client.get_cookie("session").value
    assert SessionManager(memory).open(session_id).expiry == OnInactivity(timedelta(days=5))
    assert "Set-Cookie" not in client.get("/permanent").headers


def test_a_session_that_is_permanent_no_more_ends_with_the_browser(app, client):
    @app.get("/temporary")
    def temporary():
        session.permanent = False
        return ""

    client.get("/permanent")
    assert "Max-Age" not in client.get("/temporary").headers["Set-Cookie"]


@pytest.mark.parametrize("refresh", [True, False])
def test_refresh_each_request(app, client, memory, clock, refresh):
    app.config["SESSION_REFRESH_EACH_REQUEST"] = refresh
    app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(hours=1)
    client.get("/permanent")
    clock.advance(timedelta(minutes=30))
    assert ("Max-Age=3600" in client.get("/get").headers.get("Set-Cookie", "")) == refresh
    assert "Max-Age=3600" in client.get("/set/x").headers.get("Set-Cookie", "Max-Age=3600" if refresh else "")


def test_errors_of_the_session_have_their_status(app, client):
    app.testing = False

    @app.get("/down")
    def down():
        raise StoreUnavailable("the store is down")

    @app.get("/conflict")
    def conflict():
        raise SessionConflict("somebody else was faster")

    response = client.get("/down")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert client.get("/conflict").status_code == 409


def test_an_app_may_handle_the_sessions_errors_itself(app, client):
    @app.get("/conflict")
    def conflict():
        raise SessionConflict("somebody else was faster")

    @app.errorhandler(SessionConflict)
    def ours(error):
        return "ours", 418

    assert client.get("/conflict").status_code == 418


def test_a_view_that_raises_saves_nothing(app, client):
    app.testing = False

    @app.get("/raises")
    def raises():
        session["value"] = "half done"
        raise ZeroDivisionError

    client.get("/set/before")
    assert client.get("/raises").status_code == 500
    assert client.get("/get").text == "before"


def test_the_managers_options_and_the_manager_itself(memory):
    app = Flask(__name__)
    Sessions(app, memory, merges={"n": merge.add}, max_bytes=100)

    @app.get("/")
    def view():
        session.login("ann")
        return str(Sessions.manager(current_app).revoke_all("ann"))

    assert app.test_client().get("/").text == "0"
    assert app.test_client().get("/").text == "1"


def test_wrong_set_ups_say_what_to_write():
    with pytest.raises(ConfigurationError, match="Sessions needs a store"):
        Sessions(Flask(__name__))
    app = Flask(__name__)
    Sessions(app, MemoryStore())
    with pytest.raises(ConfigurationError, match="once for each app"):
        Sessions(app, MemoryStore())
    with pytest.raises(ConfigurationError, match="takes the Flask app, then the store; got MemoryStore as the app"):
        Sessions(MemoryStore(), app)
    with pytest.raises(ConfigurationError, match=r"call Sessions\(app, store\) first"):
        Sessions.manager(Flask(__name__))
    app = Flask(__name__)
    app.config["SESSION_COOKIE_SAMESITE"] = "None"
    with pytest.raises(ConfigurationError, match="needs secure=True"):
        Sessions(app, MemoryStore())


def test_flask_sessions_options_are_not_read_and_a_warning_says_so(caplog):
    app = Flask(__name__)
    app.config["SESSION_TYPE"] = "redis"
    Sessions(app, MemoryStore())
    assert "docs/migrating.md" in caplog.text


def test_flask_sessions_regenerate_changes_the_id(app, client):
    @app.get("/regenerate")
    def regenerate():
        current_app.session_interface.regenerate(session)
        return "changed"

    client.get("/set/1")
    before = client.get_cookie("session").value
    client.get("/regenerate")
    assert client.get_cookie("session").value != before
    assert client.get("/get").text == "1"


def test_clearing_a_permanent_session_ends_it(app, client, memory):
    client.get("/set/1")
    client.get("/permanent")
    assert client.get_cookie("session").max_age
    client.get("/clear")
    assert client.get_cookie("session") is None
    assert memory._records == {}


def test_what_is_written_after_clearing_a_permanent_session_ends_with_the_browser(app, client):
    @app.get("/anew")
    def anew():
        session.clear()
        session["value"] = "new"
        return str(session.permanent)

    client.get("/permanent")
    assert client.get("/anew").text == "False"
    assert client.get_cookie("session").max_age is None
    assert client.get("/get").text == "new"


def test_emptying_leaves_an_expiry_that_the_app_has_set(app, client):
    @app.get("/login")
    def log_in():
        session.login("ann")
        session.expiry = OnInactivity(timedelta(days=5))
        return "logged in"

    @app.get("/empty")
    def empty():
        for key in list(session):
            del session[key]
        return "empty"

    client.get("/login")
    client.get("/set/1")
    client.get("/empty")
    with client.session_transaction() as kept:
        assert (kept.owner, kept.expiry) == ("ann", OnInactivity(timedelta(days=5)))


def test_clearing_a_permanent_session_while_it_streams(app, client):
    @app.get("/stream")
    def stream():
        def chunks():
            yield "begun"
            session.clear()

        session.get("value")
        return stream_with_context(chunks())

    client.get("/set/1")
    client.get("/permanent")
    assert client.get("/stream", buffered=True).text == "begun"
    assert client.get("/get").text == "nothing"


def test_an_app_that_nobody_holds_is_freed_with_its_store():
    app = Flask(__name__)
    Sessions(app, MemoryStore())
    references = [weakref.ref(app), weakref.ref(Sessions.manager(app).store)]
    del app
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_middlewares_around_the_app_may_use_the_session_first(app, client):
    inner = app.wsgi_app.app

    def outer(environ, start_response):
        environ["wsgisessions.session"]["outer"] = 1
        return inner(environ, start_response)

    app.wsgi_app.app = outer
    assert client.get("/untouched").status_code == 200
    with client.session_transaction() as stored:
        assert stored["outer"] == 1
