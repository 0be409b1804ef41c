"""A session keeps what an app does to it on whatever serves the app, or the log says what was lost."""

import gc
import gzip

import hosts
import pytest
from flask import Flask, stream_with_context
from flask import session as flask_session
from werkzeug.wrappers import Response

from wsgisessions import SessionManager, SessionMiddleware, SQLiteStore, get_session
from wsgisessions.flask import Sessions

pytestmark = pytest.mark.usefixtures("log")

TEXT = [("Content-Type", "text/plain")]


@pytest.fixture
def store(tmp_path):
    # Some hosts say that they have several processes, for which a MemoryStore is none.
    store = SQLiteStore(tmp_path / "sessions.db")
    yield store
    store.close()


@pytest.fixture
def serve(store):
    """Return a function that wraps an app, and one that reads a visitor's session."""

    def serve(app):
        return SessionMiddleware(app, store)

    return serve


@pytest.fixture
def stored(store):
    """Return a function that tells what the store has for a cookie."""
    return lambda cookie: dict(SessionManager(store).open(cookie.partition("=")[2]))


class Chunks:
    """A body that is an iterator object, as file readers are."""

    def __init__(self, session, chunks):
        self.session = session
        self.chunks = chunks
        self.made = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.made += 1
        if self.made > len(self.chunks):
            raise StopIteration
        if self.made > 1:
            self.session["progress"] = self.made
        return self.chunks[self.made - 1]

    def close(self):
        self.session["closed"] = True


def in_a_list(environ, start_response):
    get_session(environ)["early"] = True
    start_response("200 OK", [*TEXT])
    return [b"onetwo"]


def in_a_generator(environ, start_response):
    session = get_session(environ)
    session["early"] = True
    start_response("200 OK", [*TEXT])

    def chunks():
        yield b"one"
        session["progress"] = 2
        yield b"two"

    return chunks()


def after_the_last_chunk(environ, start_response):
    session = get_session(environ)
    session["early"] = True
    start_response("200 OK", [*TEXT])

    def chunks():
        yield b"onetwo"
        session["progress"] = 2

    return chunks()


def in_an_iterator(environ, start_response):
    session = get_session(environ)
    session["early"] = True
    start_response("200 OK", [*TEXT])
    return Chunks(session, [b"one", b"two"])


def on_close(environ, start_response):
    session = get_session(environ)
    session["early"] = True
    response = Response(iter([b"one", b"two"]))
    response.call_on_close(lambda: session.update(closed=True))
    return response(environ, start_response)


def of_known_length(environ, start_response):
    session = get_session(environ)
    session["early"] = True
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])

    def chunks():
        yield b"one"
        session["progress"] = 2
        yield b"two"

    return chunks()


def named(host):
    return host.__name__


every_host = pytest.mark.parametrize("host", [*hosts.CLOSING, *hosts.NOT_CLOSING], ids=named)
closing_hosts = pytest.mark.parametrize("host", hosts.CLOSING, ids=named)
hosts_that_never_close = pytest.mark.parametrize("host", hosts.NOT_CLOSING, ids=named)


@every_host
@pytest.mark.parametrize("app", [in_a_list, in_a_generator, in_an_iterator, on_close], ids=named)
def test_what_is_set_before_the_app_returns_is_kept(serve, stored, host, app):
    with host(serve(app)) as visit:
        answer = visit()
    assert (answer.status, answer.body) == (200, b"onetwo")
    assert stored(answer.cookie)["early"] is True


@every_host
@pytest.mark.parametrize("app", [in_a_generator, after_the_last_chunk, in_an_iterator], ids=named)
def test_what_a_stream_changes_late_is_kept(serve, stored, host, app):
    with host(serve(app)) as visit:
        cookie = visit().cookie
        assert visit(cookie).body == b"onetwo"
    assert stored(cookie)["progress"] == 2


@closing_hosts
@pytest.mark.parametrize("app", [in_an_iterator, on_close], ids=named)
def test_what_is_changed_in_close_is_kept(serve, stored, host, app):
    with host(serve(app)) as visit:
        cookie = visit().cookie
    assert stored(cookie)["closed"] is True


@hosts_that_never_close
@pytest.mark.parametrize("app", [in_an_iterator, on_close], ids=named)
def test_what_close_would_change_never_happens_where_nobody_calls_it(serve, stored, host, app):
    with host(serve(app)) as visit:
        cookie = visit().cookie
    gc.collect()
    assert "closed" not in stored(cookie)


@every_host
def test_a_late_change_in_a_body_of_known_length_is_kept_or_the_log_says_that_it_is_not(serve, stored, log, host):
    # Some hosts ask for no more chunks when they have as many bytes as Content-Length promised.
    with host(serve(of_known_length)) as visit:
        cookie = visit().cookie
    gc.collect()
    assert stored(cookie).get("progress") == 2 or "progress" in " ".join(log())


def test_a_body_that_is_left_half_read_says_which_changes_were_lost(serve, stored, log):
    headers = []
    body = serve(in_a_generator)(hosts.make_environ(""), lambda status, given: headers.extend(given))
    chunks = iter(body)
    assert [next(chunks), next(chunks)] == [b"one", b"two"]
    del body, chunks
    gc.collect()
    told = log()
    assert len(told) == 1
    assert "progress" in told[0]
    cookie = next(value for name, value in headers if name == "Set-Cookie").partition(";")[0]
    assert stored(cookie) == {"early": True}


def early_in_a_generator(environ, start_response):
    get_session(environ)["early"] = True
    start_response("200 OK", [*TEXT])
    return iter([b"one", b"two"])


def early_and_of_known_length(environ, start_response):
    get_session(environ)["early"] = True
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    return iter([b"one", b"two"])


@every_host
@pytest.mark.parametrize("app", [in_a_list, early_in_a_generator, early_and_of_known_length], ids=named)
def test_a_body_without_late_changes_logs_nothing(serve, log, host, app):
    with host(serve(app)) as visit:
        assert visit().body == b"onetwo"
    gc.collect()
    assert log() == []


def test_a_wrapper_may_close_the_bodys_iterator_instead_of_the_body(serve, stored):
    """ddtrace's WSGI wrapper does."""
    headers = []
    body = serve(in_an_iterator)(hosts.make_environ(""), lambda status, given: headers.extend(given))
    chunks = iter(body)
    assert b"".join(chunks) == b"onetwo"
    chunks.close()
    cookie = next(value for name, value in headers if name == "Set-Cookie").partition(";")[0]
    assert stored(cookie) == {"early": True, "progress": 2, "closed": True}


def test_a_session_that_a_stream_starts_late_is_refused_on_a_host_that_never_closes(serve, log):
    refused = []

    def app(environ, start_response):
        session = get_session(environ)
        start_response("200 OK", [*TEXT])

        def chunks():
            yield b"one"
            try:
                session["progress"] = True
            except Exception as error:
                refused.append(str(error))

        return chunks()

    with hosts.asgiref(serve(app)) as visit:
        assert visit().cookie == ""
    assert "needs a response header" in refused[0]


# --- Flask


@pytest.fixture
def flask_app(store):
    app = Flask(__name__)
    Sessions(app, store)

    @app.get("/")
    def page():
        flask_session["visits"] = flask_session.get("visits", 0) + 1
        return "page"

    return app


def streaming_app(store):
    app = Flask(__name__)
    Sessions(app, store)

    @app.get("/")
    def stream():
        flask_session["early"] = True

        def chunks():
            yield "one"
            flask_session["progress"] = 2
            yield "two"

        return stream_with_context(chunks())

    return app


@every_host
def test_a_flask_page_keeps_its_session_and_logs_nothing(flask_app, stored, log, host):
    with host(flask_app) as visit:
        cookie = visit().cookie
        assert visit(cookie).body == b"page"
    gc.collect()
    assert stored(cookie) == {"visits": 2}
    assert log() == []


@every_host
def test_what_a_flask_stream_changes_late_is_kept(store, stored, host):
    with host(streaming_app(store)) as visit:
        cookie = visit().cookie
        assert visit(cookie).body == b"onetwo"
    assert stored(cookie) == {"early": True, "progress": 2}


# --- a wrapper that looks at the status as soon as the app has returned


def visit_zipped(app, cookie=""):
    from paste.gzipper import middleware

    def asking(environ, start_response):
        return middleware(app)({**environ, "HTTP_ACCEPT_ENCODING": "gzip"}, start_response)

    with hosts.werkzeug_client(asking) as visit:
        answer = visit(cookie)
    assert answer.header("Content-Encoding") == "gzip"
    return answer


def test_pastes_gzipper_compresses_a_flask_page(flask_app, stored):
    cookie = visit_zipped(flask_app).cookie
    assert gzip.decompress(visit_zipped(flask_app, cookie).body) == b"page"
    assert stored(cookie) == {"visits": 2}


def test_pastes_gzipper_compresses_a_list(serve, stored):
    answer = visit_zipped(serve(in_a_list))
    assert gzip.decompress(answer.body) == b"onetwo"
    assert stored(answer.cookie) == {"early": True}


@pytest.mark.parametrize("app", [in_a_generator, in_an_iterator], ids=named)
def test_pastes_gzipper_compresses_a_stream_inside_the_middleware(serve, stored, app):
    from paste.gzipper import middleware

    def zipping(environ, start_response):
        return middleware(app)({**environ, "HTTP_ACCEPT_ENCODING": "gzip"}, start_response)

    with hosts.werkzeug_client(serve(zipping)) as visit:
        answer = visit()
    assert gzip.decompress(answer.body) == b"onetwo"
    assert stored(answer.cookie)["progress"] == 2
