"""The cookie: whatever a client sends, and whatever a configuration asks for."""

import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsgisessions import ConfigurationError, Cookie, SessionMiddleware, get_session
from wsgisessions.session_ids import SessionID, is_well_formed


@pytest.fixture(scope="module")
def serve():
    """Return a function that reads a session under a raw Cookie header, and tells what happened."""
    from wsgisessions import MemoryStore

    loads = []

    class Watched(MemoryStore):
        def load(self, id_hash):
            loads.append(id_hash)
            return super().load(id_hash)

    def app(environ, start_response):
        assert get_session(environ).get("a") is None
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    middleware = SessionMiddleware(app, Watched())

    def serve(header):
        loads.clear()
        given = []
        environ = {"REQUEST_METHOD": "GET", "HTTP_COOKIE": header, "wsgi.url_scheme": "https"}
        middleware(environ, lambda status, headers, exc_info=None: given.append((status, dict(headers))))
        ((status, headers),) = given
        assert status == "200 OK"
        return len(loads), headers

    return serve


HEADERS = st.text(st.characters(max_codepoint=255)) | st.lists(
    st.sampled_from(
        [
            "__Host-id=",
            "__Host-id",
            "=",
            ";",
            ",",
            '"',
            "\\",
            " ",
            "a" * 32,
            "\xff",
            "\\303",
            "\0",
            "$Version",
            "a" * 31,
        ]
    )
).map("".join)


@settings(max_examples=1000)
@given(HEADERS.filter(lambda header: "a" * 32 not in header))
@example("__Host-id=" + "a" * 31)
@example("__Host-id=" + "a" * 33)
@example("__Host-id=" + "a" * 31 + "\n")
@example("__Host-id=" + "a" * 31 + "é")
@example("__Host-id=" + "x" * 1_000_000)
@example('__Host-id="' + "a" * 31 + '\\"')
@example("__Host-id=\xe9\xff")
@example("; " * 100_000)
@example("=;" * 1000)
def test_a_random_cookie_header_never_raises_and_never_reaches_the_store(serve, header):
    loads, _ = serve(header)
    assert loads == 0


def test_a_thousand_cookies_are_bounded_work(serve):
    loads, _ = serve("; ".join(f"__Host-id={SessionID.new().text}" for _ in range(1000)))
    assert loads == 6  # three IDs, and the mark of each


def test_another_cookie_whose_name_ends_alike_is_not_ours(serve):
    loads, headers = serve("xid=" + "a" * 32)
    assert loads == 0
    assert "Set-Cookie" not in headers


def test_an_id_is_192_random_bits():
    ids = {SessionID.new().text for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_well_formed(each) for each in ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"same_site": "Sometimes"}, '"Strict", "Lax", "None" or None'),
        ({"same_site": "None", "secure": False}, 'same_site="None" needs secure=True'),
        ({"name": "__Host-id", "secure": False}, '"__Host-" cookies need secure=True'),
        ({"name": "__Host-id", "path": "/app"}, "got secure=True, path='/app'"),
        ({"name": "__Host-id", "domain": "example.org"}, "domain='example.org'"),
        ({"name": "__host-id", "secure": False}, '"__Host-"'),
        ({"name": "__Secure-id", "secure": False}, '"__Secure-" cookies need secure=True'),
        ({"partitioned": True, "secure": False}, "partitioned=True needs secure=True"),
        ({"name": ""}, "a cookie's name"),
        ({"name": "a b"}, "a cookie's name"),
        ({"name": "é"}, "a cookie's name"),
        ({"path": "app"}, "starts with"),
        ({"path": "/;x"}, "holds no"),
        ({"domain": "https://example.org"}, "bare host name"),
        ({"domain": ""}, "bare host name"),
    ],
)
def test_attributes_that_browsers_refuse_are_refused_first(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Cookie(**options)


def test_a_domain_that_cannot_be_written_is_refused_first():
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Cookie(domain="a..b")


def test_every_attribute_is_set_and_removed_alike(make_browser):
    cookie = Cookie("__Secure-s", "/app", "example.org", same_site="none", partitioned=True)
    browser = make_browser(transport=cookie)
    response = browser.get(lambda session: session.update(a=1))
    attributes = "Domain=example.org; Secure; HttpOnly; Path=/app; SameSite=None; Partitioned"
    assert response.headers["Set-Cookie"] == f"__Secure-s={browser.session_id}; {attributes}"
    removal = browser.get(lambda session: session.flush()).headers["Set-Cookie"]
    for attribute in attributes.split("; "):
        assert f"; {attribute}" in removal
    assert removal.startswith("__Secure-s=; ")
    assert "; Max-Age=0; " in removal


def test_attributes_may_be_left_out(make_browser):
    browser = make_browser(transport=Cookie(secure=False, http_only=False, same_site=None))
    response = browser.get(lambda session: session.update(a=1))
    assert response.headers["Set-Cookie"] == f"id={browser.session_id}; Path=/"


@pytest.mark.parametrize(
    ("environ", "warns"),
    [
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "example.org"}, True),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "example.org:8000"}, True),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "localhost.example.org"}, True),
        ({"wsgi.url_scheme": "https", "HTTP_HOST": "example.org"}, False),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "localhost:8000"}, False),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "app.localhost"}, False),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "127.0.0.1:8000"}, False),
        ({"wsgi.url_scheme": "http", "HTTP_HOST": "[::1]:8000"}, False),
    ],
)
def test_a_secure_cookie_over_plain_http_warns_once(browser, caplog, environ, warns):
    browser.environ.update(environ)
    for _ in range(2):
        browser.cookie = ""
        browser.get(lambda session: session.update(a=1))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == warns
    assert all("ProxyFix" in message and "Cookie(secure=False)" in message for message in messages)


def test_a_memory_store_under_several_processes_warns_once(browser, caplog):
    browser.environ["wsgi.multiprocess"] = True
    for _ in range(2):
        browser.cookie = ""
        browser.get(lambda session: session.update(a=1))
    (record,) = caplog.records
    assert "use SQLiteStore" in record.getMessage()
