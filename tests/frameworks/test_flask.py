"""`flask.session` is this session, and what Flask's users know of it works."""

import gc
import weakref
from datetime import datetime, timedelta, timezone

import pytest
from flask import (
    Blueprint,
    Flask,
    abort,
    current_app,
    flash,
    get_flashed_messages,
    got_request_exception,
    redirect,
    request,
    request_finished,
    session,
    stream_with_context,
)
from flask import session as flask_session

from wsgisessions import (
    ConfigurationError,
    Cookie,
    MemoryStore,
    OnInactivity,
    SessionConflict,
    SessionError,
    SessionManager,
    SessionTooLarge,
    StoreUnavailable,
    merge,
)
from wsgisessions.flask import Sessions
from wsgisessions.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(datetime.now(timezone.utc))


class Memory(MemoryStore):
    """Remembers what was created."""

    def __init__(self, **options):
        super().__init__(**options)
        self.created = []

    def create(self, id_hash, record):
        self.created.append(id_hash)
        return super().create(id_hash, record)


@pytest.fixture
def memory(clock):
    return Memory(clock=clock)


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
        session["value"] = "kept"
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


@pytest.mark.parametrize(
    ("option", "value", "remedies"),
    [
        ("SESSION_COOKIE_SECURE", True, ["ProxyFix", 'set SESSION_COOKIE_SECURE to "auto"']),
        ("SESSION_COOKIE_PATH", "/shop", ["x_prefix=1", "Set SESSION_COOKIE_PATH", "APPLICATION_ROOT"]),
        ("SESSION_COOKIE_DOMAIN", "example.org", ["x_host=1", "Set SESSION_COOKIE_DOMAIN to None"]),
    ],
)
def test_a_cookie_that_would_not_come_back_warns_once_in_flasks_words(app, client, caplog, option, value, remedies):
    app.config[option] = value
    for _ in range(2):
        client.get("/set/x", base_url="http://example.com")
        client.delete_cookie("session", domain="example.com", path=app.config["SESSION_COOKIE_PATH"] or "/")
    (record,) = caplog.records
    assert all(each in record.getMessage() for each in remedies)
    assert "Cookie(" not in record.getMessage()


def test_the_configuration_takes_all_that_a_cookie_takes(app, client):
    app.config["SESSION_COOKIE_SECURE"] = "auto"
    app.config["SESSION_COOKIE_PATH"] = lambda environ: environ["SCRIPT_NAME"] or "/"
    app.config["SESSION_COOKIE_DOMAIN"] = lambda environ: environ["HTTP_HOST"].partition(".")[2]
    attributes = client.get("/set/x", base_url="https://www.example.org/shop").headers["Set-Cookie"].split("; ")[1:]
    assert attributes == ["Domain=example.org", "Secure", "HttpOnly", "Path=/shop"]
    attributes = client.get("/set/x", base_url="http://www.example.com").headers["Set-Cookie"].split("; ")[1:]
    assert attributes == ["Domain=example.com", "HttpOnly", "Path=/"]


def test_a_name_that_is_left_to_the_cookie_follows_the_scheme_also_when_the_request_is_over(app, client):
    app.config.update(SESSION_COOKIE_NAME=None, SESSION_COOKIE_SECURE="auto")
    kept = []

    @app.get("/keep")
    def keep():
        kept.append(session._get_current_object())
        return ""

    for scheme, name in (("http", "id"), ("https", "__Host-id")):
        header = client.get(f"/set/{scheme}", base_url=f"{scheme}://localhost").headers["Set-Cookie"]
        assert header.startswith(f"{name}=")
        client.get("/keep", base_url=f"{scheme}://localhost").close()
        assert kept.pop()["value"] == scheme


@pytest.mark.parametrize("secure", [None, 0, 1, "yes"])
def test_a_configuration_that_is_true_or_false_in_other_words_is_taken_as_flask_takes_it(app, client, secure):
    app.config["SESSION_COOKIE_SECURE"] = secure
    assert ("; Secure;" in client.get("/set/x").headers["Set-Cookie"]) == bool(secure)


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


def test_a_permanent_session_for_everybody_stores_nothing_for_who_only_reads(app, client, memory):
    @app.before_request
    def make_permanent():
        session.permanent = True

    response = client.get("/untouched")
    assert "Set-Cookie" not in response.headers
    client.get("/set/x")
    assert "Max-Age" in client.get("/set/y").headers.get("Set-Cookie", "Max-Age")
    recorded = []
    update = memory.update
    memory.update = lambda *arguments: recorded.append(arguments) or update(*arguments)
    assert "Set-Cookie" not in client.get("/get").headers
    assert recorded == []


def test_a_session_transaction_may_make_the_session_permanent(client):
    with client.session_transaction() as transaction:
        transaction.permanent = True
        transaction["value"] = "x"
    with client.session_transaction() as transaction:
        assert transaction.permanent
    assert client.get("/get").text == "x"


class StatusReader:
    """A middleware that needs the status when the app returns, as paste's gzipper does."""

    def __init__(self, app):
        self.app = app
        self.statuses = []

    def __call__(self, environ, start_response):
        seen = []

        def remember(status, headers, exc_info=None):
            seen.append(status)
            return start_response(status, headers, exc_info)

        body = self.app(environ, remember)
        self.statuses.append(seen[0])
        return body


@pytest.mark.parametrize(
    ("path", "status"),
    [("/get", 200), ("/set/x", 200), ("/untouched", 200), ("/nowhere", 404), ("/raises", 500), ("/slash", 308)],
)
def test_the_headers_leave_when_flask_returns(app, client, path, status):
    app.testing = False
    app.wsgi_app = reader = StatusReader(app.wsgi_app)

    @app.get("/raises")
    def raises():
        raise ZeroDivisionError

    @app.get("/slash/")
    def slash():
        return ""

    assert client.get(path).status_code == status
    assert reader.statuses[0].startswith(str(status))


@pytest.fixture
def failing(app, client, memory):
    """Return a client whose next commit fails, of an app that adds a header to every response."""
    app.testing = False

    @app.after_request
    def allow_origin(response):
        response.headers["Access-Control-Allow-Origin"] = "https://example.org"
        return response

    with client.session_transaction() as transaction:
        transaction["value"] = "before"

    def fail(id_hash, patch):
        raise StoreUnavailable("down")

    memory.update = fail
    return client


def test_a_commit_that_fails_keeps_what_after_request_functions_added(failing):
    response = failing.get("/set/x")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert response.headers["Content-Length"] == str(len(response.data))
    assert "session cannot be reached" in response.text


@pytest.mark.parametrize("kind", [StoreUnavailable, Exception])
def test_an_apps_handler_answers_a_commit_that_fails(app, failing, caplog, kind):
    @app.errorhandler(kind)
    def ours(error):
        return {"error": type(error).__name__}, 418, {"X-Ours": "1"}

    response = failing.get("/set/x")
    assert (response.status_code, response.json) == (418, {"error": "StoreUnavailable"})
    assert response.headers["X-Ours"] == "1"
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert caplog.text.count("the response was replaced") == 1
    assert failing.get("/get").text == "before"


@pytest.mark.parametrize("path", ["/set/x", "/raises-ours"])
def test_an_apps_page_for_a_500_goes_before_ours(app, failing, path):
    @app.get("/raises-ours")
    def raises():
        raise StoreUnavailable("down")

    @app.errorhandler(500)
    def ours(error):
        return f"Oops: {type(error.original_exception).__name__}", 500

    response = failing.get(path)
    assert (response.status_code, response.text) == (500, "Oops: StoreUnavailable")


def test_a_handler_that_fails_itself_leaves_an_answer_and_both_causes_in_the_log(app, failing, caplog):
    @app.errorhandler(StoreUnavailable)
    def ours(error):
        raise ZeroDivisionError("in the handler")

    assert failing.get("/set/x").status_code == 500
    assert "in the handler" in caplog.text
    assert "StoreUnavailable: down" in caplog.text


@pytest.mark.parametrize("path", ["/set/x", "/raises-ours"])
def test_an_error_of_the_session_is_signalled(app, failing, path):
    @app.get("/raises-ours")
    def raises():
        raise StoreUnavailable("down")

    signalled = []

    def note(sender, exception):
        signalled.append(exception)

    got_request_exception.connect(note, app)
    assert failing.get(path).status_code == 503
    assert [str(each) for each in signalled] == ["down"]


@pytest.mark.parametrize("path", ["/set/x", "/raises-ours"])
def test_a_test_sees_the_error_itself(app, failing, path):
    @app.get("/raises-ours")
    def raises():
        raise StoreUnavailable("down")

    app.testing = True
    with pytest.raises(StoreUnavailable, match="down"):
        failing.get(path)


def test_the_page_for_an_error_commits_nothing(app, client, memory):
    app.testing = False

    @app.get("/half")
    def half():
        session["value"] = "half"
        raise ZeroDivisionError

    @app.errorhandler(500)
    def page(error):
        session["page"] = "written by the error page"
        return "sorry", 500

    client.get("/set/before")
    assert client.get("/half").text == "sorry"
    with client.session_transaction() as transaction:
        assert dict(transaction) == {"value": "before"}


def test_a_commit_whose_request_fails_afterwards_still_reaches_the_client(app, client):
    app.testing = False

    def fail(sender, response):
        raise ZeroDivisionError

    request_finished.connect(fail, app)
    assert client.get("/set/x").status_code == 500
    request_finished.disconnect(fail, app)
    assert client.get("/get").text == "x"


@pytest.mark.parametrize("handles", [True, False])
def test_a_session_that_is_too_large_has_a_handler(memory, handles):
    app = Flask(__name__)
    Sessions(app, memory, max_bytes=50)

    @app.get("/large")
    def large():
        session["value"] = "x" * 100
        return "never seen"

    if handles:
        app.register_error_handler(SessionTooLarge, lambda error: ("Your cart is full", 413))
    response = app.test_client().get("/large")
    assert response.status_code == 413
    assert ("Your cart is full" in response.text) == handles


def test_what_a_response_changes_when_it_is_closed_is_saved(app, client):
    @app.get("/late")
    def late():
        response = app.make_response("late")
        kept = session._get_current_object()
        response.call_on_close(lambda: kept.update(value="late"))
        return response

    client.get("/set/early")
    client.get("/late").close()
    assert client.get("/get").text == "late"


def test_changes_that_an_error_drops_are_told_by_name(app, client, caplog):
    app.testing = False

    @app.get("/half")
    def half():
        session["value"] = "a secret"
        raise ZeroDivisionError

    assert client.get("/half").status_code == 500
    told = [record for record in caplog.records if record.name == "wsgisessions"]
    assert len(told) == 1
    assert "'value'" in told[0].getMessage()
    assert "session.save()" in told[0].getMessage()
    assert "a secret" not in told[0].getMessage()


def test_what_an_error_handler_writes_for_the_next_page_is_saved(app, client, memory):
    update = memory.update

    def fail_once(id_hash, patch):
        memory.update = update
        raise StoreUnavailable("down")

    @app.errorhandler(StoreUnavailable)
    def ask_again(error):
        flash("Please try again")
        return redirect("/flashed")

    @app.get("/flashed")
    def flashed():
        return " ".join(get_flashed_messages())

    with client.session_transaction() as transaction:
        transaction["value"] = "before"
    memory.update = fail_once
    assert client.get("/set/x", follow_redirects=True).text == "Please try again"
    assert client.get("/get").text == "before"


def test_an_answer_of_an_error_handler_has_nothing_of_the_page_that_it_replaces(app, failing):
    closed = []

    @app.get("/file")
    def file():
        session["value"] = "x"
        response = app.make_response("never seen")
        response.headers.update({"X-Sendfile": "/secret", "Vary": "Origin", "Cache-Control": "public, max-age=60"})
        response.set_cookie("seen", "yes")
        return response

    @app.errorhandler(StoreUnavailable)
    def ours(error):
        response = app.make_response(("sorry", 503, {"Vary": "Accept"}))
        response.call_on_close(lambda: closed.append("answer"))
        return response

    with failing.get("/file") as response:
        assert (response.status_code, response.text) == (503, "sorry")
        assert "X-Sendfile" not in response.headers
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers.getlist("Set-Cookie") == []
        assert set(response.headers["Vary"].split(", ")) == {"Accept", "Origin", "Cookie"}
    assert closed == ["answer"]


@pytest.mark.parametrize("act", ["cycle_id", "login", "start"])
def test_what_comes_too_late_for_a_cookie_is_refused_in_its_line(app, client, act):
    refused = []

    def late(sender, response):
        try:
            if act == "start":
                session["value"] = 1
            else:
                getattr(session, act)(*(["ann"] if act == "login" else []))
        except SessionError as error:
            refused.append(str(error))

    if act != "start":
        client.get("/set/x")
    before = client.get_cookie("session")
    with request_finished.connected_to(late, app):
        client.get("/untouched")
    assert "after_request" in refused[0]
    assert client.get_cookie("session") == before
    if act != "start":
        assert client.get("/get").text == "x"


def test_a_streamed_error_page_has_the_cookie_of_an_id_that_was_changed_before(app, client):
    app.testing = False

    @app.get("/login")
    def login():
        session.login("ann")
        return "never seen"

    @app.errorhandler(500)
    def page(error):
        return app.response_class(iter(["sorry"]), status=500)

    def fail(sender, response):
        raise ZeroDivisionError

    with client.session_transaction() as transaction:
        transaction["value"] = "x"
    with request_finished.connected_to(fail, app):
        assert client.get("/login").text == "sorry"
    assert client.get("/get").text == "x"
    with client.session_transaction() as transaction:
        assert transaction.owner == "ann"


def test_a_wrapper_that_answers_in_flasks_place_has_the_cookie(memory):
    app = Flask(__name__)

    @app.get("/")
    def index():
        session["value"] = "x"
        return "never seen"

    flask_itself = app.wsgi_app

    def wrapper(environ, start_response):
        b"".join(flask_itself(environ, lambda status, headers, exc_info=None: None))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"another page"]

    app.wsgi_app = wrapper
    Sessions(app, memory)
    response = app.test_client().get("/")
    assert response.text == "another page"
    assert "Set-Cookie" in response.headers
    assert len(memory.created) == 1


def two_apps(memory):
    apps = []
    for name in ("first", "second"):
        app = Flask(name)
        Sessions(app, memory)

        @app.get(f"/{name}")
        def page(name=name):
            session[name] = True
            return dict(session)

        apps.append(app)
    return apps


def test_two_apps_for_one_request_share_its_session(memory):
    first, second = two_apps(memory)

    @first.get("/both")
    def both():
        session["first"] = True
        return first.response_class.from_app(second, {**request.environ, "PATH_INFO": "/second"})

    client = first.test_client()
    response = client.get("/both")
    assert response.json == {"first": True, "second": True}
    assert len(response.headers.getlist("Set-Cookie")) == 1
    assert client.get("/first").json == {"first": True, "second": True}
    assert len(memory.created) == 1


def test_of_two_apps_that_are_tried_in_turn_the_second_one_commits(memory):
    first, second = two_apps(memory)
    inner = first.wsgi_app.app

    def in_turn(environ, start_response):
        answers = []

        def remember(status, headers, exc_info=None):
            answers[:] = [status, headers]
            return lambda data: None

        body = inner(environ, remember)
        list(body)
        if answers[0].startswith("404"):
            return second.wsgi_app(environ, start_response)
        return start_response(*answers) and body

    first.wsgi_app.app = in_turn
    client = first.test_client()
    assert client.get("/second").json == {"second": True}
    assert client.get("/second").json == {"second": True}
    assert len(memory.created) == 1


def test_a_library_that_makes_error_pages_itself_keeps_them(memory):
    class JSONApp(Flask):
        def handle_exception(self, error):  # as Flask-RESTful does
            got_request_exception.send(self, exception=error)
            return self.finalize_request(({"message": "api"}, 500), from_error_handler=True)

    app = JSONApp(__name__)
    Sessions(app, memory)

    @app.get("/")
    def index():
        raise StoreUnavailable("down")

    response = app.test_client().get("/")
    assert (response.status_code, response.json) == (500, {"message": "api"})


def test_an_error_may_be_signalled_outside_a_request(app):
    got_request_exception.send(app, exception=StoreUnavailable("down"))


def test_a_stream_of_a_known_length_may_start_a_session(app, client):
    @app.get("/stream")
    def stream():
        def chunks():
            session["value"] = "x"
            yield "abc"

        return app.response_class(stream_with_context(chunks()), headers={"Content-Length": "3"})

    assert client.get("/stream").text == "abc"
    assert client.get("/get").text == "x"


def test_an_error_page_in_a_list_keeps_its_body(memory):
    app = Flask(__name__)
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: [b"".join(inner(environ, start_response))]
    Sessions(app, memory)

    @app.get("/fails")
    def fails():
        session["value"] = "x"
        abort(500)

    assert "Internal Server Error" in app.test_client().get("/fails").text
