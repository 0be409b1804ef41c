"""The middleware between any server and any app, as PEP 3333 has it."""

import gc
import io
import sys
import weakref
from contextlib import suppress
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from wsgisessions import MemoryStore, SessionError, SessionManager, SessionMiddleware, get_session
from wsgisessions.session import exchange_of

OK = ("200 OK", [("Content-Type", "text/plain")])


class Server:
    """Calls an app as a WSGI server does, and remembers what it was given and when."""

    def __init__(self, app, *, validated=True, **options):
        self.store = MemoryStore()
        self.middleware = SessionMiddleware(app, self.store, **options)
        self.app = validator(self.middleware) if validated else self.middleware
        self.events = []
        self.status = None
        self.headers = {}
        self.cookie = ""

    def environ(self, **extra):
        environ = {"HTTP_COOKIE": self.cookie, "wsgi.url_scheme": "https", **extra}
        setup_testing_defaults(environ)
        environ["QUERY_STRING"] = ""
        return environ

    def start_response(self, status, headers, exc_info=None):
        if self.status is not None:
            if exc_info is None:
                raise AssertionError("headers were set twice")
            raise exc_info[1]
        self.status, self.headers = status, dict(headers)
        self.events.append("headers")
        cookie = self.headers.get("Set-Cookie", "").partition(";")[0]
        if cookie:
            self.cookie = cookie
        return lambda data: self.events.append(data)

    def call(self, **extra):
        self.status = None
        return self.app(self.environ(**extra), self.start_response)

    def visit(self, **extra):
        """Serve a request to its end, and return the body."""
        body = self.call(**extra)
        chunks = []
        try:
            for chunk in body:
                assert self.status is not None
                self.events.append(chunk)
                chunks.append(chunk)
        finally:
            if hasattr(body, "close"):
                body.close()
        return b"".join(chunks)

    def stored(self):
        """Return the values of the visitor's session, as another request would see them."""
        return dict(SessionManager(self.store).open(self.cookie.partition("=")[2]))


class Body:
    """An iterable that counts how often it was closed."""

    def __init__(self, *chunks, error=None):
        self.chunks = chunks
        self.error = error
        self.closed = 0

    def __iter__(self):
        yield from self.chunks
        if self.error is not None:
            raise self.error

    def close(self):
        self.closed += 1


def writing_app(body):
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response(*OK)
        return body

    return app


@pytest.mark.parametrize("body", [[b"one", b"two"], (b"one", b"two"), Body(b"one", b"two")])
def test_every_kind_of_body_arrives_with_its_session(body):
    server = Server(writing_app(body))
    assert server.visit() == b"onetwo"
    assert server.stored() == {"a": 1}


@pytest.mark.parametrize("body", [[b"one"], (b"one",), []])
def test_lists_and_tuples_are_handed_on_as_they_are(body):
    server = Server(writing_app(body), validated=False)
    assert server.call() is body
    assert server.stored() == {"a": 1}


def test_a_file_wrapper_is_handed_on_as_it_is():
    wrappers = []

    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response(*OK)
        wrappers.append(environ["wsgi.file_wrapper"](io.BytesIO(b"file")))
        return wrappers[0]

    server = Server(app, validated=False)
    body = server.call(**{"wsgi.file_wrapper": FileWrapper})
    assert body is wrappers[0]
    assert server.stored() == {"a": 1}
    body.close()


@pytest.mark.parametrize("body", [[], (), Body()])
def test_an_empty_body_has_its_session(body):
    server = Server(writing_app(body))
    assert server.visit() == b""
    assert server.status == "200 OK"
    assert server.stored() == {"a": 1}


def test_a_generator_may_use_the_session_until_its_first_chunk():
    def app(environ, start_response):
        session = get_session(environ)
        session["a"] = 1
        start_response(*OK)
        session["b"] = 2
        yield b"chunk"

    server = Server(app)
    assert server.visit() == b"chunk"
    assert server.events == ["headers", b"chunk"]
    assert server.stored() == {"a": 1, "b": 2}


def test_a_generator_may_start_its_response_late():
    def app(environ, start_response):
        get_session(environ)["a"] = 1

        def body():
            start_response(*OK)
            yield b"late"

        return body()

    server = Server(app)
    assert server.visit() == b"late"
    assert server.stored() == {"a": 1}


def test_changes_made_mid_stream_are_saved_when_the_client_has_the_id():
    def app(environ, start_response):
        session = get_session(environ)
        start_response(*OK)
        session["first"] = True
        yield b"one"
        session["second"] = True
        session["items"] = session.get("items", [])
        session["items"].append("x")
        yield b"two"

    server = Server(app)
    server.visit()
    assert server.stored() == {"first": True, "second": True, "items": ["x"]}


def test_a_session_that_starts_too_late_raises_in_the_line_that_starts_it():
    lines = []

    def app(environ, start_response):
        start_response(*OK)
        yield b"one"
        with pytest.raises(SessionError, match="headers have left"):
            get_session(environ)["a"] = 1
        with pytest.raises(SessionError, match="headers have left"):
            get_session(environ).login("ann")
        with pytest.raises(SessionError, match="headers have left"):
            get_session(environ).cycle_id()
        lines.append("refused")
        yield b"two"

    server = Server(app)
    assert server.visit() == b"onetwo"
    assert lines == ["refused"]


def test_a_flush_mid_stream_deletes_the_session():
    def app(environ, start_response):
        start_response(*OK)
        yield b"one"
        get_session(environ).flush()

    server = Server(writing_app([]))
    server.visit()
    server.middleware.app = app
    server.visit()
    assert server.stored() == {}


def test_write_commits_before_its_first_chunk():
    def app(environ, start_response):
        session = get_session(environ)
        session["a"] = 1
        write = start_response(*OK)
        session["b"] = 2
        write(b"one")
        session["c"] = 3
        write(b"two")
        return [b"three"]

    server = Server(app)
    assert server.visit() == b"three"
    assert server.events == ["headers", b"one", b"two", b"three"]
    assert server.stored() == {"a": 1, "b": 2, "c": 3}


def test_exc_info_before_the_first_chunk_replaces_the_headers():
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response(*OK)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"error"]

    server = Server(app)
    assert server.visit() == b"error"
    assert server.status == "500 Internal Server Error"
    assert server.cookie == ""


def test_exc_info_after_the_first_chunk_is_raised_by_the_server():
    def app(environ, start_response):
        start_response(*OK)
        yield b"one"
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        yield b"never"

    server = Server(app)
    with pytest.raises(ZeroDivisionError):
        server.visit()
    assert server.events == ["headers", b"one"]


def test_exc_info_after_an_empty_chunk_keeps_the_sessions_headers():
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response(*OK)
        yield b""
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        yield b"error"

    sent = []

    def start_response(status, headers, exc_info=None):
        # As the server of PEP 3333's example: nothing is sent with an empty chunk.
        sent.append((status, dict(headers)))

    middleware = SessionMiddleware(app, MemoryStore())
    body = middleware({"wsgi.url_scheme": "https", "HTTP_HOST": "example.org", "REQUEST_METHOD": "GET"}, start_response)
    assert list(body) == [b"", b"error"]
    body.close()
    (_, first), (status, last) = sent
    assert status == "500 Internal Server Error"
    assert last["Set-Cookie"] == first["Set-Cookie"]
    assert last["Vary"] == "Cookie"


def test_a_second_start_response_without_exc_info_is_refused():
    def app(environ, start_response):
        start_response(*OK)
        start_response(*OK)
        return [b"never"]

    with pytest.raises(AssertionError, match="second time without exc_info"):
        Server(app, validated=False).visit()


@pytest.mark.parametrize("body", [[b"x"], Body(b"x")])
def test_a_body_before_start_response_is_refused(body):
    with pytest.raises(AssertionError, match="start_response"):
        Server(lambda environ, start_response: body, validated=False).visit()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_response_without_a_body_has_its_session(status):
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response(status, [])
        return []

    server = Server(app)
    assert server.visit() == b""
    assert server.stored() == {"a": 1}


def test_head_has_the_headers_of_get():
    server = Server(writing_app([]))
    assert server.visit(REQUEST_METHOD="HEAD") == b""
    assert "Set-Cookie" in server.headers


def test_an_app_that_raises_saves_nothing():
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        raise ZeroDivisionError

    server = Server(app)
    with pytest.raises(ZeroDivisionError):
        server.visit()
    assert server.events == []
    assert server.store.delete_expired() == 0


@pytest.mark.parametrize("chunks", [[], [b"one"]])
def test_a_body_that_raises_is_closed_once_and_saves_nothing_more(chunks):
    body = Body(*chunks, error=ZeroDivisionError())
    server = Server(writing_app(body))
    with pytest.raises(ZeroDivisionError):
        server.visit()
    assert body.closed == 1
    assert ("headers" in server.events) == bool(chunks)
    assert (server.cookie != "") == bool(chunks)


@pytest.mark.parametrize("chunks", [(), (b"one",), (b"one", b"two")])
def test_close_is_called_once(chunks):
    body = Body(*chunks)
    server = Server(writing_app(body))
    server.visit()
    assert body.closed == 1


def test_a_client_that_goes_away_mid_stream_closes_the_body_and_keeps_the_changes():
    closed = []

    def app(environ, start_response):
        session = get_session(environ)
        session["a"] = 1
        start_response(*OK)
        try:
            yield b"one"
            session["b"] = 2
            yield b"two"
            session["c"] = 3
        finally:
            closed.append(True)

    server = Server(app)
    body = server.call()
    chunks = iter(body)
    assert [next(chunks), next(chunks)] == [b"one", b"two"]
    body.close()
    assert closed == [True]
    assert server.stored() == {"a": 1, "b": 2}


def test_a_client_that_goes_away_before_the_first_chunk_gets_no_session():
    server = Server(writing_app(Body(b"one")), validated=False)
    server.call().close()
    assert server.events == []
    assert list(server.store._records) == []


def test_changes_made_by_close_are_saved():
    class ClosingBody(Body):
        def close(self):
            super().close()
            self.session["closed"] = True

    body = ClosingBody(b"one")

    def app(environ, start_response):
        body.session = get_session(environ)
        body.session["a"] = 1
        start_response(*OK)
        return body

    server = Server(app)
    server.visit()
    assert server.stored() == {"a": 1, "closed": True}


def test_an_app_that_reuses_its_header_list_finds_it_unchanged():
    headers = [("Content-Type", "text/plain")]

    def app(environ, start_response):
        get_session(environ)["a"] = 1
        start_response("200 OK", headers)
        return []

    Server(app).visit()
    assert headers == [("Content-Type", "text/plain")]


def test_two_middlewares_give_two_sessions():
    from wsgisessions import Cookie

    def app(environ, start_response):
        get_session(environ)["a"] = "inner"
        get_session(environ, "outer")["a"] = "outer"
        start_response(*OK)
        return []

    inner = SessionMiddleware(app, MemoryStore())
    outer = SessionMiddleware(inner, MemoryStore(), environ_key="outer", transport=Cookie(name="outer"))
    given = []

    def start_response(status, headers, exc_info=None):
        given.extend(value.partition("=")[0] for name, value in headers if name == "Set-Cookie")
        return lambda data: None

    environ = {}
    setup_testing_defaults(environ)
    list(outer(environ, start_response))
    assert given == ["__Host-id", "outer"]


@pytest.mark.parametrize("chunks", [[b"one", b"two"], []])
def test_a_server_that_takes_the_headers_at_once_gets_them_at_once(chunks):
    def app(environ, start_response):
        get_session(environ)["n"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield from chunks

    sent = []
    environ = {"SERVER_SOFTWARE": "Granian", "wsgi.url_scheme": "https", "REQUEST_METHOD": "GET"}
    body = SessionMiddleware(app, MemoryStore())(environ, lambda status, headers, exc_info=None: sent.append(headers))
    assert "Set-Cookie" in dict(sent[0])
    assert list(body) == chunks
    body.close()
    assert len(sent) == 1


def test_a_body_that_fails_at_once_is_closed():
    body = Body(error=OSError("no data"))

    def app(environ, start_response):
        start_response(*OK)
        return body

    with pytest.raises(OSError, match="no data"):
        Server(app, validated=False).call(SERVER_SOFTWARE="Granian")
    assert body.closed == 1


@pytest.mark.parametrize("writes", [True, False])
def test_a_page_of_a_server_error_keeps_its_body(writes):
    def app(environ, start_response):
        get_session(environ).get("a")
        write = start_response("500 Oops", OK[1])
        if writes:
            write(b"one")
        return [b"two"]

    server = Server(app, validated=False)
    assert b"".join(server.call()) == b"two"
    assert server.events == (["headers", b"one"] if writes else ["headers"])


@pytest.mark.parametrize("kind", ["list", "stream", "unclosed stream", "5xx stream", "failing app"])
def test_a_request_that_is_over_waits_for_no_garbage_collector(kind):
    def app(environ, start_response):
        get_session(environ)["a"] = 1
        if kind == "failing app":
            raise ZeroDivisionError
        start_response(*(("500 Oops", []) if kind == "5xx stream" else OK))
        return [b"one"] if kind == "list" else iter([b"one"])

    server = Server(app, validated=False)
    environ = server.environ()
    gc.disable()
    try:
        with suppress(ZeroDivisionError):
            body = server.middleware(environ, lambda status, headers, exc_info=None: None)
            list(body)
            if kind != "unclosed stream" and hasattr(body, "close"):
                body.close()
            del body
        exchange = weakref.ref(exchange_of(get_session(environ)))
        environ.clear()
        assert exchange() is None
    finally:
        gc.enable()
