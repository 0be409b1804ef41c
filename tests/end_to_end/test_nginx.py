"""A shared cache in front of the app, nginx's, never hands one visitor what is another's."""

from contextlib import ExitStack

import pytest
import requests
from serving import serving

from wsgisessions import MemoryStore, SessionMiddleware, get_session


def app(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path.endswith("/for-a-minute"):
        headers.append(("Cache-Control", "max-age=60"))
    text = "public"
    if path.startswith("/visit"):
        session = get_session(environ)
        session["n"] = session.get("n", 0) + 1
        text = str(session["n"])
    elif path.startswith("/login"):
        get_session(environ).login(environ["QUERY_STRING"])
    elif path.startswith("/owner"):
        text = str(get_session(environ).owner)
    start_response("200 OK", headers)
    return [text.encode()]


class Cached:
    def __init__(self, url):
        self.url = url

    def get(self, path, cookie=None):
        answer = requests.get(self.url + path, headers={"Cookie": cookie} if cookie else {}, timeout=30)
        answer.raise_for_status()
        self.was_cached = answer.headers["X-Cache"] == "HIT"
        self.cookie = answer.headers.get("Set-Cookie", "").partition(";")[0] or None
        return answer.text


@pytest.fixture
def behind(server_class):
    """Return a function that puts nginx in front of an app."""
    with ExitStack() as stack:

        def behind(app):
            return Cached(stack.enter_context(server_class("nginx")(stack.enter_context(serving(app)))).url)

        yield behind


@pytest.fixture
def site(behind):
    return behind(SessionMiddleware(app, MemoryStore()))


@pytest.mark.parametrize("path", ["visit", "visit/for-a-minute", "login/for-a-minute?ann"])
def test_a_response_that_sets_the_cookie_is_not_stored(site, path):
    cookies = set()
    for _ in range(3):
        site.get(path)
        assert not site.was_cached
        cookies.add(site.cookie)
    assert len(cookies) == 3
    assert None not in cookies


@pytest.mark.parametrize("path", ["owner", "owner/for-a-minute"])
def test_a_page_of_a_session_is_its_visitors_only(site, path):
    cookies = {}
    for name in ("ann", "bob"):
        site.get(f"login?{name}")
        cookies[name] = site.cookie
    for _ in range(2):
        for name, cookie in cookies.items():
            assert site.get(path, cookie) == name
    assert site.was_cached
    assert site.get(path) == "None"


def test_a_page_without_a_session_is_stored_for_all(site):
    assert site.get("public") == "public"
    site.get("visit")
    assert site.get("public", site.cookie) == "public"
    assert site.was_cached


def test_without_vary_it_would_hand_out_what_is_anothers(behind):
    """So the checks above can fail."""
    inner = SessionMiddleware(app, MemoryStore())

    def without_vary(environ, start_response):
        def strip(status, headers, exc_info=None):
            return start_response(status, [header for header in headers if header[0] != "Vary"], exc_info)

        return inner(environ, strip)

    site = behind(without_vary)
    site.get("login?ann")
    assert site.get("owner", site.cookie) == "ann"
    assert site.get("owner") == "ann"
    assert site.was_cached
