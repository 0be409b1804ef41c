"""`is_modified` is exact: true if, and only if, a commit would write."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from wsgisessions import OnInactivity, OnSessionEnd


@dataclass
class Guest:
    views: int = 0


def write_blindly(session):
    session["n"] = 1


def change_inside(session):
    session["items"].append(1)


MODIFIES = {
    "a new key": (lambda session: session.update(m=1), True),
    "a new value": (lambda session: session.update(n=2), True),
    "the same value": (lambda session: session.update(n=1), False),
    "the same value without a look": (write_blindly, False),
    "a change inside": (change_inside, True),
    "a change that is undone": (lambda session: session.update(n=2) or session.update(n=1), False),
    "a removal": (lambda session: session.pop("n"), True),
    "a removal of what is not there": (lambda session: session.pop("none", None), False),
    "a look": (lambda session: session["n"], False),
    "nothing": (lambda session: None, False),
    "a new ID": (lambda session: session.cycle_id(), True),
    "a login": (lambda session: session.login("ann"), True),
    "a flush": (lambda session: session.flush(), True),
    "a clear": (lambda session: session.clear(), True),
    "another expiry": (lambda session: setattr(session, "expiry", OnInactivity(timedelta(1))), True),
    "the same expiry": (lambda session: setattr(session, "expiry", OnSessionEnd()), False),
    "another expiry and back": (
        lambda session: (
            setattr(session, "expiry", OnInactivity(timedelta(1))),
            setattr(session, "expiry", OnSessionEnd()),
        ),
        False,
    ),
}
MODIFIES_NEW = {
    "a key": (write_blindly, True),
    "a login": (lambda session: session.login("ann"), True),
    "a new ID": (lambda session: session.cycle_id(), False),
    "an expiry": (lambda session: setattr(session, "expiry", OnInactivity(timedelta(1))), False),
    "a flush": (lambda session: session.flush(), False),
    "a key that is removed again": (lambda session: write_blindly(session) or session.pop("n"), False),
    "an unused bucket": (lambda session: session.bucket(Guest), False),
}


@pytest.mark.parametrize("name", MODIFIES)
def test_is_modified_tells_exactly_whether_a_commit_would_write(browser, name):
    act, expected = MODIFIES[name]
    browser.get(lambda session: session.update(n=1, items=[]))
    browser.store.taken()
    assert browser.get(lambda session: (act(session), session.is_modified)).result[1] is expected
    browser.get(lambda session: session.flush())
    browser.get(lambda session: session.update(n=1, items=[]))
    browser.store.taken()
    written = [each for each in browser.get(act).commands if each != "load"]
    assert bool(written) is expected


@pytest.mark.parametrize("name", MODIFIES_NEW)
def test_is_modified_of_a_new_session(browser, name):
    act, expected = MODIFIES_NEW[name]
    assert browser.get(lambda session: (act(session), session.is_modified)).result[1] is expected
    browser.cookie = ""
    assert bool(browser.get(act).commands) is expected


def test_is_modified_counts_a_touch(make_browser, clock):
    browser = make_browser(expiry=OnInactivity(timedelta(hours=1)), clock=clock)
    browser.get(lambda session: session.update(n=1))
    assert browser.get(lambda session: (session["n"], session.is_modified)).result == (1, False)
    clock.advance(timedelta(minutes=30))
    assert browser.get(lambda session: (session["n"], session.is_modified)).result == (1, True)
