"""Requests that cost their sender nothing cost the site a bounded amount."""

import tracemalloc

import pytest

from wsgisessions import Cookie, Header, MemoryStore, SessionManager, SessionMiddleware, SessionTooLarge, get_session
from wsgisessions.session_ids import SessionID

KEY = "a secret key" * 4


def read(environ, start_response):
    text = str(get_session(environ).get("n")).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text]


def send(app, **headers):
    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "https", "HTTP_HOST": "example.org", **headers}
    answers = []
    body = app(environ, lambda status, headers, exc_info=None: answers.append((status, headers)))
    assert body == [b"None"]
    (answer,) = answers
    return answer


class CountingStore(MemoryStore):
    loads = creates = 0

    def create(self, id_hash, record):
        self.creates += 1
        return super().create(id_hash, record)

    def load(self, id_hash):
        self.loads += 1
        return super().load(id_hash)


def test_a_hundred_thousand_random_ids_leave_nothing_behind():
    store = CountingStore()
    app = SessionMiddleware(read, store)

    def attack(requests):
        for _ in range(requests):
            send(app, HTTP_COOKIE=f"__Host-id={SessionID.new().text}")

    attack(100)
    tracemalloc.start()
    try:
        attack(1_000)
        before, _ = tracemalloc.get_traced_memory()
        attack(5_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    attack(94_000)
    # A hash that is kept takes a hundred bytes; other threads of the tests take some too.
    assert after - before < 5_000 * 40
    assert store.creates == 0


TRANSPORTS = {
    "plain": Cookie(),
    "signed": Cookie(signing_keys=[KEY, "an old key" * 4]),
    "encrypted": Cookie(encryption_keys=[KEY, "an old key" * 4]),
    "header": [Header("X-Token"), Cookie()],
}
BOMBS = {
    "a thousand cookies": {"HTTP_COOKIE": "; ".join(f"__Host-id={SessionID.new().text}" for _ in range(1_000))},
    "a thousand names": {"HTTP_COOKIE": "; ".join(f"__Host-id{number}=x" for number in range(1_000)) + "; __Host-id=x"},
    "a megabyte": {"HTTP_COOKIE": "__Host-id=" + "A" * 1_000_000},
    "a megabyte in quotes": {"HTTP_COOKIE": '__Host-id="' + "\\101" * 250_000 + '"'},
    "a megabyte of dots": {"HTTP_COOKIE": "__Host-id=" + "." * 1_000_000},
    "a megabyte of separators": {"HTTP_COOKIE": "__Host-id=;" * 250_000},
    "a megabyte of a token": {"HTTP_X_TOKEN": "A" * 1_000_000},
    "a megabyte of blanks": {"HTTP_X_TOKEN": " " * 1_000_000},
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_bomb_is_bounded_work(transport, bomb):
    store = CountingStore()
    app = SessionMiddleware(read, store, transport=TRANSPORTS[transport])
    status, headers = send(app, **BOMBS[bomb])
    assert status == "200 OK"
    assert store.loads <= 6  # three IDs, and the mark of each
    assert sum(len(name) + len(value) for name, value in headers) < 500
    assert store.creates == 0


def test_bytes_and_sessions_of_an_owner_are_bounded():
    store = MemoryStore()
    manager = SessionManager(store, max_bytes=10_000, max_per_owner=3)
    ids = []
    for _ in range(10):
        session = manager.open()
        session.login("ann")
        session.save()
        ids.append(session.id)
    assert [manager.open(session_id).owner for session_id in ids] == [None] * 7 + ["ann"] * 3
    session = manager.open(ids[-1])
    session["n"] = 1
    session.save()
    session["n"] = "x" * 10_000
    with pytest.raises(SessionTooLarge):
        session.save()
    assert manager.open(ids[-1])["n"] == 1
