"""How the session ID travels: signed, encrypted, in a header, and what is refused before the store is asked."""

import logging
import string

import pytest

from wsgisessions import ConfigurationError, Cookie, Header, MemoryStore, SessionMiddleware
from wsgisessions.cookie_protection import Encrypted, Signed

OLD, NEW, OTHER = "old key" * 6, "new key" * 6, "another" * 6
PROTECTIONS = {"signing_keys": Signed, "encryption_keys": Encrypted}


def set_n(session):
    session["n"] = 1


def get_n(session):
    return session.get("n")


@pytest.fixture(params=PROTECTIONS)
def option(request):
    return request.param


@pytest.fixture
def protected(make_browser, option):
    """Return what makes a browser on an app whose cookie is under these keys, on the store of another one."""

    def make(keys, store=None, **options):
        return make_browser(store=store, transport=Cookie(**{option: keys}, **options))

    return make


def test_a_protected_id_comes_back(protected):
    browser = protected([NEW])
    browser.get(set_n)
    response = browser.get(get_n)
    assert response.result == 1
    assert response.commands == ["load"]
    assert "Set-Cookie" not in response.headers


def test_a_signed_cookie_shows_the_id_and_an_encrypted_one_does_not(protected, option):
    browser = protected([NEW])
    session_id = browser.get(set_n_and_get_id).result
    assert (session_id in browser.session_id) == (option == "signing_keys")


def set_n_and_get_id(session):
    session["n"] = 1
    session.save()
    return session.id


@pytest.mark.parametrize(
    "forge",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: ("A" if text[0] != "A" else "B") + text[1:],
        lambda text: text.partition(".")[0][:32],
        lambda text: text + "A",
        lambda text: "A" * 32,
        lambda text: "A" * len(text),
        lambda text: "",
        lambda text: text.upper(),
    ],
)
def test_a_forged_cookie_is_refused_before_the_store_is_asked(protected, forge):
    browser = protected([NEW])
    browser.get(set_n)
    response = browser.get(get_n, cookie=f"__Host-id={forge(browser.session_id)}")
    assert response.result is None
    assert response.commands == []
    assert "Set-Cookie" not in response.headers


def test_a_protected_cookie_has_one_form(protected):
    """The last character of base64 has bits that say nothing; with others there it would be the same cookie."""
    browser = protected([NEW])
    browser.get(set_n)
    *_, last = text = browser.session_id
    for other in set(string.ascii_letters + string.digits + "-_") - {last}:
        response = browser.get(get_n, cookie=f"__Host-id={text[:-1]}{other}")
        assert (response.result, response.commands) == (None, [])
    assert browser.get(get_n, cookie=f"__Host-id={text}").result == 1


def test_a_cookie_without_protection_is_refused_once_there_are_keys(protected, make_browser):
    plain = make_browser()
    plain.get(set_n)
    response = protected([NEW], store=plain.store).get(get_n, cookie=plain.cookie)
    assert (response.result, response.commands) == (None, [])


def test_a_cookie_under_an_old_key_is_written_anew_at_its_next_use(protected):
    before = protected([OLD])
    before.get(set_n)
    browser = protected([NEW, OLD], store=before.store)
    response = browser.get(get_n, cookie=before.cookie)
    assert response.result == 1
    renewed = response.headers["Set-Cookie"].partition(";")[0]
    assert renewed != before.cookie
    after = protected([NEW], store=before.store)
    response = after.get(get_n, cookie=renewed)
    assert response.result == 1
    assert "Set-Cookie" not in response.headers


def test_a_key_that_is_withdrawn_ends_its_cookies(protected):
    before = protected([OLD])
    before.get(set_n)
    response = protected([NEW], store=before.store).get(get_n, cookie=before.cookie)
    assert (response.result, response.commands) == (None, [])


def test_a_cookie_of_one_name_is_none_of_another(protected):
    first = protected([NEW], name="first")
    first.get(set_n)
    second = protected([NEW], store=first.store, name="second")
    response = second.get(get_n, cookie=f"second={first.session_id}")
    assert (response.result, response.commands) == (None, [])


def test_of_a_thousand_cookies_three_are_tried(protected, monkeypatch, option):
    browser = protected([NEW])
    browser.get(set_n)
    protection = PROTECTIONS[option]
    tried = []
    reveal = protection.reveal
    monkeypatch.setattr(protection, "reveal", lambda self, text: tried.append(text) or reveal(self, text))
    forged = "A" * len(browser.session_id)
    response = browser.get(get_n, cookie="; ".join([f"__Host-id={forged}"] * 1000))
    assert (response.result, response.commands) == (None, [])
    assert 1 <= len(set(tried)) <= len(tried) <= 3 * 2


@pytest.mark.parametrize("keys", [["short"], [b"x" * 31], [None], "x" * 40, [NEW, "short"], []])
def test_keys_that_keep_no_secret_are_refused_at_once(option, keys):
    with pytest.raises(ConfigurationError) as caught:
        Cookie(**{option: keys})
    assert option in str(caught.value)
    if keys != "x" * 40:
        assert "secrets.token_urlsafe(32)" in str(caught.value)
    assert "short" not in str(caught.value)


def test_a_cookie_is_signed_or_encrypted_not_both():
    with pytest.raises(ConfigurationError, match="signing_keys or encryption_keys"):
        Cookie(signing_keys=[NEW], encryption_keys=[NEW])


def test_no_key_is_shown(protected, option, caplog):
    caplog.set_level(logging.DEBUG)
    browser = protected([NEW])
    browser.get(set_n, cookie="__Host-id=forged")
    shown = repr(browser.middleware.transports) + repr(PROTECTIONS[option]([NEW], "id")) + caplog.text
    assert NEW not in shown


class Api:
    """A client that keeps a header instead of cookies."""

    def __init__(self, browser):
        self.browser = browser
        self.token = ""

    def get(self, view=None, token=None):
        self.browser.environ["HTTP_X_SESSION_TOKEN"] = self.token if token is None else token
        response = self.browser.get(view, cookie="")
        self.token = response.headers.get("X-Session-Token", self.token)
        return response


@pytest.fixture
def api(make_browser):
    return Api(make_browser(transport=Header("X-Session-Token")))


def test_a_header_carries_the_same_session(api):
    response = api.get(set_n)
    assert "Set-Cookie" not in response.headers
    assert response.headers["Vary"] == "X-Session-Token"
    assert response.headers["Cache-Control"] == 'no-cache="X-Session-Token"'
    assert api.get(get_n).result == 1


def test_an_unknown_token_is_left_alone_until_something_is_written(api):
    response = api.get(get_n, token="A" * 32)
    assert "X-Session-Token" not in response.headers
    api.get(set_n, token="A" * 32)
    assert api.token not in ("", "A" * 32)


def test_a_logout_empties_the_token(api):
    api.get(set_n)
    assert api.get(lambda session: session.logout()).headers["X-Session-Token"] == ""


@pytest.fixture
def both(make_browser):
    return make_browser(transport=[Header(), Cookie()])


def test_each_client_is_answered_by_the_transport_it_uses(both):
    response = both.get(set_n)
    assert "Set-Cookie" in response.headers
    assert "X-Session-Token" not in response.headers
    api = Api(both)
    response = api.get(set_n)
    assert "Set-Cookie" not in response.headers
    assert api.token


def test_a_script_cannot_trade_the_cookie_for_a_token(both):
    both.get(set_n)
    both.environ["HTTP_X_SESSION_TOKEN"] = ""
    response = both.get(set_n_and_get_id)
    assert response.headers["X-Session-Token"] not in ("", both.session_id)
    assert "Set-Cookie" not in response.headers


def test_a_response_of_two_transports_varies_on_both(both):
    varies = ", ".join(both.get(get_n).headers.getall("Vary"))
    assert varies == "X-Session-Token, Cookie"


@pytest.mark.parametrize("transport", ["cookie", [], [None], 5, Cookie, [Cookie]])
def test_what_is_no_transport_is_refused(transport):
    with pytest.raises(ConfigurationError, match="transport is Cookie"):
        SessionMiddleware(lambda environ, start_response: [], MemoryStore(), transport=transport)


@pytest.mark.parametrize("name", ["", "X Session", "X:Y", None, "X\n"])
def test_a_header_needs_a_headers_name(name):
    with pytest.raises(ConfigurationError, match="header's name"):
        Header(name)
