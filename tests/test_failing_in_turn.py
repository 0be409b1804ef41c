"""Ending a session or changing its ID while the store fails at each of its calls in turn: no half-way state.

Either the client is given an ID and that session is alive and complete, or it keeps its own and that one is as it was.
"""

import pytest

from wsgisessions import MemoryStore, SessionManager, StoreUnavailable

METHODS = ("create", "load", "update", "rename", "delete")
MOST_CALLS = 12


class FailingStore(MemoryStore):
    """Fails at one call, before or after it has its effect, or from that call on."""

    def __init__(self):
        super().__init__()
        self.how = None
        self.calls_left = 0
        self.has_failed = False

    def fail_at(self, number, how):
        self.calls_left, self.how, self.has_failed = number, how, False

    def be_well(self):
        self.how = None


def failing(name):
    def method(self, *arguments, **options):
        working = getattr(super(FailingStore, self), name)
        if self.how is None:
            return working(*arguments, **options)
        self.calls_left -= 1
        if self.calls_left == 0 or (self.calls_left < 0 and self.how == "from then on"):
            self.has_failed = True
            if self.how == "after it is done":
                working(*arguments, **options)
            raise StoreUnavailable("down")
        return working(*arguments, **options)

    return method


for name in METHODS:
    setattr(FailingStore, name, failing(name))


def cycle(session):
    session.cycle_id()


def log_in(session):
    session.login("ann")


def log_in_with_a_cart(session):
    session["cart"] = ["tea", "milk"]
    session.login("ann")


def log_in_as_another(session):
    session.login("bob")
    session["cart"] = ["bread"]


def flush(session):
    session.flush()


def flush_and_write(session):
    session.flush()
    session["cart"] = ["bread"]


def clear(session):
    session.clear()


def clear_and_write(session):
    session.clear()
    session["cart"] = ["bread"]


KEEPS = {cycle: (None, ["tea"]), log_in: ("ann", ["tea"]), log_in_with_a_cart: ("ann", ["tea", "milk"])}
STARTS = {log_in_as_another: ("bob", ["bread"]), flush_and_write: (None, ["bread"]), clear_and_write: (None, ["bread"])}
ENDS = (flush, clear)
OWNED = (log_in_as_another,)


def look(store, cookie):
    """Return whether there is a session behind a cookie, its owner, and its cart."""
    session = SessionManager(store).open(cookie.partition("=")[2])
    return not session.is_new, session.owner, session.get("cart")


@pytest.mark.parametrize("how", ["once", "after it is done", "from then on"])
@pytest.mark.parametrize("number", range(1, MOST_CALLS))
@pytest.mark.parametrize("act", [*KEEPS, *STARTS, *ENDS])
def test_there_is_no_half_way_state(make_browser, act, number, how):
    store = FailingStore()
    browser = make_browser(store)
    browser.get(lambda session: session.update(cart=["tea"]))
    if act in OWNED:
        browser.get(lambda session: session.login("ann"))
    old = browser.cookie
    before = look(store, old)
    store.fail_at(number, how)
    response = browser.get(act)
    store.be_well()
    is_alive, owner, cart = look(store, old)
    is_told = "Set-Cookie" in response.headers
    if browser.cookie not in (old, ""):
        # It has a new ID: that session is complete, and the old one is dead.
        assert look(store, browser.cookie) == (True, *(KEEPS | STARTS)[act])
        assert not is_alive
    elif is_told:
        assert not is_alive
    elif act in KEEPS:
        # It keeps its ID: nothing has happened.
        assert (is_alive, owner, cart) == before
        assert response.status_int == 503
    else:
        # It keeps an ID that was to end: alive and as it was, or dead; and it is told that something failed.
        assert (is_alive, owner, cart) in (before, (False, None, None))
        assert response.status_int == 503
    if not store.has_failed:
        assert response.status_int == 200


def test_every_call_of_each_is_reached(make_browser):
    for act in (*KEEPS, *STARTS, *ENDS):
        store = FailingStore()
        browser = make_browser(store)
        browser.get(lambda session: session.update(cart=["tea"]))
        store.fail_at(MOST_CALLS, "once")
        browser.get(act)
        assert 0 < store.calls_left <= MOST_CALLS - 1
