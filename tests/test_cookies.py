"""The cookie: whatever a client sends, and whatever a configuration asks for."""

import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from webtest import TestApp
from werkzeug.middleware.proxy_fix import ProxyFix

from wsgisessions import ConfigurationError, Cookie, Header, SessionMiddleware, get_session
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
        ({"secure": "yes"}, 'secure is True, False or "auto"'),
        ({"secure": None}, 'secure is True, False or "auto"'),
        ({"secure": "auto", "same_site": "none"}, 'same_site="None" .*write secure=True, or same_site="Lax"'),
        ({"secure": "auto", "partitioned": True}, "partitioned=True .*write secure=True, or partitioned=False"),
        ({"secure": "auto", "name": "__Host-id"}, "'__Host-id' .*write secure=True, or leave the name out"),
        ({"secure": "auto", "name": "__secure-id"}, "'__secure-id' .*write secure=True, or leave the name out"),
        ({"name": "__Host-id", "path": lambda environ: "/"}, "no functions in their place"),
        ({"name": "__host-id", "domain": lambda environ: None}, "no functions in their place"),
        ({"secure": False, "same_site": "None", "path": lambda environ: "/"}, 'same_site="None" needs secure=True'),
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
    assert all("ProxyFix" in message and 'Cookie(secure="auto")' in message for message in messages)


BY_HOST = Cookie(domain=lambda environ: environ["HTTP_HOST"].partition(".")[2])
BY_PREFIX = Cookie(path=lambda environ: environ["SCRIPT_NAME"] or "/")
BY_SCHEME = Cookie(secure="auto")


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "warns"),
    [
        ("/", "", "/login", False),
        ("/shop", "", "/shop", False),
        ("/shop", "", "/shop/cart", False),
        ("/shop", "/shop", "", False),
        ("/shop", "/shop", "/cart", False),
        ("/shop/", "", "/shop/cart", False),
        ("/my shop/é", "", "/my shop/\xc3\xa9/cart", False),  # as PEP 3333 has it
        ("/my%20shop", "", "/my shop/cart", False),
        ("/shop/", "", "/shop", True),
        ("/shop", "", "/shopping", True),
        ("/shop", "", "/Shop", True),
        ("/shop", "", "/login", True),
        ("/shop", "/other", "/shop", True),
        ("/shop", "", "", True),
    ],
)
def test_a_path_that_does_not_cover_the_url_warns_once(make_browser, caplog, path, script_name, path_info, warns):
    browser = make_browser(transport=Cookie(path=path))
    browser.environ |= {"SCRIPT_NAME": script_name, "PATH_INFO": path_info}
    for _ in range(2):
        browser.get(lambda session: session.update(a=1), cookie="")
    messages = warnings_of(caplog)
    assert len(messages) == warns
    for message in messages:
        assert f"Path {path!r}" in message
        assert 'Cookie(path="/")' in message
        assert "SCRIPT_NAME" in message
        assert "x_prefix=1" in message


@pytest.mark.parametrize(
    ("domain", "host", "warns"),
    [
        (None, "example.org", False),
        ("example.org", "example.org", False),
        ("example.org", "example.org:8443", False),
        ("example.org", "www.example.org", False),
        ("example.org", "a.b.example.org", False),
        (".example.org", "www.example.org", False),
        ("Example.org", "WWW.EXAMPLE.ORG", False),
        ("bücher.example", "www.xn--bcher-kva.example", False),
        ("localhost", "localhost:5000", False),
        ("192.0.2.1", "192.0.2.1", False),
        ("example.org", "example.com", True),
        ("example.org", "badexample.org", True),
        ("www.example.org", "example.org", True),
        ("example.org", "localhost:5000", True),
        ("example.org", "[::1]:5000", True),
        ("2.1", "192.0.2.1", True),
    ],
)
def test_a_domain_that_is_not_the_hosts_warns_once(make_browser, caplog, domain, host, warns):
    browser = make_browser(transport=Cookie(domain=domain))
    browser.environ |= {"HTTP_HOST": host, "SERVER_NAME": host}
    for _ in range(2):
        browser.get(lambda session: session.update(a=1), cookie="")
    messages = warnings_of(caplog)
    assert len(messages) == warns
    for message in messages:
        assert f"Domain {domain!r}" in message
        assert repr(host.removesuffix(":5000")) in message
        assert "Leave the domain out" in message
        assert "x_host=1" in message


def test_a_request_without_a_host_is_no_browsers_and_warns_of_no_domain():
    assert list(Cookie(domain="example.org").warnings({"wsgi.url_scheme": "https"})) == []


def test_each_kind_of_warning_is_told_once(make_browser, caplog):
    browser = make_browser(transport=Cookie(path="/shop", domain="example.org"))
    browser.environ |= {"wsgi.url_scheme": "http", "HTTP_HOST": "example.com"}
    for path in ("/a", "/b"):
        browser.environ["PATH_INFO"] = path
        browser.get(lambda session: session.update(a=1), cookie="")
    secure, path, domain = warnings_of(caplog)
    assert "is Secure" in secure
    assert "Path '/shop'" in path
    assert "Domain 'example.org'" in domain


def test_a_request_that_sets_no_cookie_warns_of_nothing(make_browser, caplog):
    browser = make_browser(transport=Cookie(path="/shop", domain="example.com"))
    browser.get(lambda session: session.get("a"))
    browser.get(lambda session: session.flush())
    assert warnings_of(caplog) == []


def test_beside_a_header_only_who_gets_the_cookie_is_warned_of(make_browser, caplog):
    browser = make_browser(transport=[Header("X-Token"), Cookie(domain="example.com")])
    browser.environ["HTTP_X_TOKEN"] = ""
    browser.get(lambda session: session.update(a=1))
    assert warnings_of(caplog) == []
    del browser.environ["HTTP_X_TOKEN"]
    browser.get(lambda session: session.update(a=1))
    assert len(warnings_of(caplog)) == 1


def test_a_cookie_as_the_scheme_says(make_browser):
    browser = make_browser(transport=BY_SCHEME)
    response = browser.get(lambda session: session.update(a=1))
    assert response.headers["Set-Cookie"] == f"__Host-id={browser.session_id}; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert browser.get(lambda session: session.get("a")).result == 1
    assert browser.get(lambda session: session.flush()).headers["Set-Cookie"].startswith("__Host-id=; ")
    browser.environ["wsgi.url_scheme"] = "http"
    response = browser.get(lambda session: session.update(a=2))
    assert response.headers["Set-Cookie"] == f"id={browser.session_id}; HttpOnly; Path=/; SameSite=Lax"
    assert browser.get(lambda session: session.get("a")).result == 2
    assert browser.get(lambda session: session.flush()).headers["Set-Cookie"].startswith("id=; ")


def test_a_cookie_as_the_scheme_says_never_warns(make_browser, caplog):
    browser = make_browser(transport=BY_SCHEME)
    for scheme in ("http", "https"):
        browser.environ["wsgi.url_scheme"] = scheme
        browser.get(lambda session: session.update(a=1), cookie="")
    assert warnings_of(caplog) == []


def test_a_cookie_planted_over_plain_http_is_not_read_over_https(make_browser):
    browser = make_browser(transport=BY_SCHEME)
    browser.environ["wsgi.url_scheme"] = "http"
    browser.get(lambda session: session.update(a=1))
    browser.environ["wsgi.url_scheme"] = "https"
    assert browser.get(lambda session: session.get("a")).result is None


@pytest.mark.parametrize("keys", ["signing_keys", "encryption_keys"])
def test_a_protected_cookie_follows_the_scheme(make_browser, keys):
    browser = make_browser(transport=Cookie(secure="auto", **{keys: ["a secret key" * 3]}))
    for scheme, name in (("http", "id"), ("https", "__Host-id")):
        browser.environ["wsgi.url_scheme"] = scheme
        browser.get(lambda session: session.update(a=1), cookie="")
        assert browser.cookie.startswith(f"{name}=")
        assert browser.get(lambda session: session.get("a")).result == 1
    assert browser.get(lambda session: session.get("a"), cookie=f"id={browser.session_id}").result is None


def test_a_name_of_ones_own_is_the_same_over_both_schemes(make_browser):
    browser = make_browser(transport=Cookie("mine", secure="auto"))
    for scheme in ("http", "https"):
        browser.test_app.reset()
        browser.environ["wsgi.url_scheme"] = scheme
        header = browser.get(lambda session: session.update(a=1), cookie="").headers["Set-Cookie"]
        assert header.startswith("mine=")
        assert ("; Secure;" in header) == (scheme == "https")


def test_a_session_is_still_found_by_its_scheme_when_its_request_is_over(make_browser):
    kept = []
    browser = make_browser(transport=BY_SCHEME)
    browser.get(lambda session: session.update(a=1))
    browser.get(kept.append)
    assert kept[0].get("a") == 1


def test_one_deployment_serves_many_domains(make_browser):
    browser = make_browser(transport=BY_HOST)
    for host, domain in (("www.example.org", "example.org"), ("shop.example.com", "example.com")):
        browser.environ["HTTP_HOST"] = host
        header = browser.get(lambda session: session.update(a=1), cookie="").headers["Set-Cookie"]
        assert header.startswith("__Secure-id=")
        assert f"; Domain={domain}; " in header
        assert browser.get(lambda session: session.get("a")).result == 1
        assert f"; Domain={domain}; " in browser.get(lambda session: session.flush()).headers["Set-Cookie"]


def test_a_function_may_leave_the_domain_out(make_browser):
    header = make_browser(transport=Cookie(domain=lambda environ: None)).get(lambda session: session.update(a=1))
    assert "Domain" not in header.headers["Set-Cookie"]


def test_an_app_behind_a_prefix_has_it_as_its_path(make_browser, caplog):
    browser = make_browser(transport=BY_PREFIX)
    for prefix, path in (("/shop", "/shop"), ("", "/")):
        browser.environ["SCRIPT_NAME"] = prefix
        header = browser.get(lambda session: session.update(a=1), cookie="").headers["Set-Cookie"]
        assert header.startswith("__Secure-id=")
        assert f"; Path={path}; " in header
    assert warnings_of(caplog) == []


def test_behind_a_proxy_the_cookie_fits_the_request_as_the_browser_sent_it(browser, caplog):
    def view(environ, start_response):
        get_session(environ)["a"] = 1
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    cookie = Cookie(
        secure="auto",
        path=lambda environ: environ["SCRIPT_NAME"],
        domain=lambda environ: environ["HTTP_HOST"].partition(".")[2],
    )
    proxied = ProxyFix(SessionMiddleware(view, browser.store, transport=cookie), x_proto=1, x_host=1, x_prefix=1)
    headers = {
        "Host": "127.0.0.1:8000",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.org",
        "X-Forwarded-Prefix": "/shop",
    }
    header = TestApp(proxied).get("/cart", headers=headers).headers["Set-Cookie"]
    assert header.startswith("__Secure-id=")
    assert header.partition("; ")[2] == "Domain=example.org; Secure; HttpOnly; Path=/shop; SameSite=Lax"
    assert warnings_of(caplog) == []


def test_functions_are_asked_only_where_the_cookie_is_written(make_browser):
    asked = []
    browser = make_browser(transport=Cookie(path=lambda environ: asked.append(environ) or "/"))
    browser.get(lambda session: session.get("a"))
    assert asked == []
    browser.get(lambda session: session.update(a=1))
    assert asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": lambda environ: ""}, "a cookie's path starts with"),
        ({"path": lambda environ: None}, "a cookie's path starts with"),
        ({"path": lambda environ: "/; Domain=example.com"}, "a cookie's path .* holds no"),
        ({"domain": lambda environ: ""}, "a cookie's domain is a bare host name"),
        ({"domain": lambda environ: "example.org; Secure"}, "a cookie's domain is a bare host name"),
        ({"domain": lambda environ: "a..b"}, "cannot be written"),
    ],
)
def test_what_a_function_returns_is_checked(options, message):
    cookie = Cookie(**options)
    for use in (lambda: cookie.issue({}, "secret", None), lambda: cookie.withdraw({}), lambda: cookie.warnings({})):
        with pytest.raises(ConfigurationError, match=f"function of the environ.*{message}"):
            list(use())


def test_a_memory_store_under_several_processes_warns_once(browser, caplog):
    browser.environ["wsgi.multiprocess"] = True
    for _ in range(2):
        browser.cookie = ""
        browser.get(lambda session: session.update(a=1))
    (record,) = caplog.records
    assert "use SQLiteStore" in record.getMessage()
