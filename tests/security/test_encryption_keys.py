"""The keys of encryption at rest: what is refused when the manager is made, and by which words."""

import base64
import secrets
import subprocess
import sys

import pytest

from wsgisessions import ConfigurationError, Cookie, MemoryStore, SessionManager, SessionMiddleware

GOOD = secrets.token_urlsafe(32)


def app(environ, start_response):
    raise NotImplementedError


def flask_app(**options):
    flask = pytest.importorskip("flask")
    from wsgisessions.flask import Sessions

    return Sessions(flask.Flask(__name__), MemoryStore(), **options)


def pyramid_factory(**options):
    pytest.importorskip("pyramid")
    from wsgisessions.pyramid import session_factory

    return session_factory(MemoryStore(), **options)


MAKERS = {
    "manager": lambda **options: SessionManager(MemoryStore(), **options),
    "middleware": lambda **options: SessionMiddleware(app, MemoryStore(), **options),
    "flask": flask_app,
    "pyramid": pyramid_factory,
    "cookie": Cookie,
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


NO_LISTS = [GOOD, GOOD.encode(), None, {GOOD}, {GOOD: 1}, 5, (key for key in [GOOD])]


@pytest.mark.parametrize("keys", NO_LISTS, ids=lambda keys: type(keys).__name__)
def test_what_is_no_list_is_refused(make, keys):
    if make is Cookie and keys is None:
        pytest.skip("the cookie's default")
    with pytest.raises(ConfigurationError, match=r"encryption_keys=\[new, old\]") as caught:
        make(encryption_keys=keys)
    assert GOOD not in str(caught.value)


def test_a_list_that_came_out_empty_does_not_store_in_plain(make):
    with pytest.raises(ConfigurationError, match="encryption_keys holds no key"):
        make(encryption_keys=[])


BAD = {
    "short": "x1!aZ" * 6,
    "short bytes": secrets.token_bytes(31),
    "empty": "",
    "no text": 12345678901234567890123456789012,
    "nothing": None,
    "a list": [GOOD],
    "one character": "k" * 64,
    "zeros": bytes(32),
    "four characters": "abcd" * 16,
    "base64 of a password": base64.b64encode(b"correct horse battery staple").decode(),
    "base64 of a password, URL-safe": base64.urlsafe_b64encode(b"is it ok??? ~~~~ correct horse?"),
    "a lone surrogate": "\udcff" + GOOD,
}


@pytest.mark.parametrize("key", BAD.values(), ids=BAD)
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_key_is_refused_with_what_makes_a_good_one(make, key, place):
    keys = [GOOD]
    keys.insert(place, key)
    with pytest.raises(ConfigurationError, match=f"number {place + 1} of encryption_keys") as caught:
        make(encryption_keys=keys)
    assert "secrets.token_urlsafe(32)" in str(caught.value)
    assert caught.value.__cause__ is None
    shown = str(caught.value)
    assert GOOD not in shown
    if isinstance(key, str | bytes) and key:
        assert str(key) not in shown


GOOD_KEYS = {
    "as advised": GOOD,
    "hexadecimal": secrets.token_hex(16),
    "bytes": secrets.token_bytes(32),
    "base64 of bytes": base64.b64encode(secrets.token_bytes(32)).decode(),
    "base64 of a long text": base64.b64encode(secrets.token_hex(16).encode()),
}


@pytest.mark.parametrize("key", GOOD_KEYS.values(), ids=GOOD_KEYS)
def test_a_good_key_is_taken(make, key):
    make(encryption_keys=(key,))
    make(encryption_keys=[key, GOOD])


def test_no_keys_at_all_are_the_default(make):
    make(encryption_keys=None if make is Cookie else ())


def test_without_cryptography_the_remedy_is_told_in_a_line():
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from wsgisessions import MemoryStore, SessionManager\n"
        "SessionManager(MemoryStore())\n"
        f"SessionManager(MemoryStore(), encryption_keys=[{GOOD!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    told = done.stderr.strip().splitlines()[-1]
    assert told.endswith("encryption_keys needs cryptography: pip install 'wsgisessions[crypto]'")


def test_a_key_in_the_place_of_the_day_is_not_shown():
    with pytest.raises(ConfigurationError, match="read_plain_until is an aware datetime") as caught:
        SessionManager(MemoryStore(), encryption_keys=[GOOD], read_plain_until=GOOD)
    assert GOOD not in str(caught.value)
