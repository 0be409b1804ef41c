"""The owner's sessions: listed, marked, ended one by one or together, and bounded in number."""

from datetime import timedelta

import pytest

from wsgisessions import ConfigurationError, MemoryStore, SessionError, SessionManager
from wsgisessions.session_ids import SessionID
from wsgisessions.testing import ManualClock

KEY = "a secret key" * 3


def log_in(session):
    session["n"] = 1
    session.login("ann")


def get_owner(session):
    return session.owner


@pytest.fixture
def devices(make_browser):
    """Return two browsers of one app that are logged in as ann."""
    first = make_browser(keep_client="plain")
    second = make_browser(store=first.store, keep_client="plain")
    for browser, name, address in [(first, "Firefox", "192.0.2.1"), (second, "Safari", "192.0.2.2")]:
        browser.environ |= {"HTTP_USER_AGENT": name, "REMOTE_ADDR": address}
        browser.get(log_in)
    return first, second


def list_sessions(browser):
    return browser.get(lambda session: browser.middleware.manager.sessions("ann", current=session)).result


def test_sessions_are_listed_with_this_one_marked(devices):
    first, _ = devices
    found = {each.user_agent: each for each in list_sessions(first)}
    assert found.keys() == {"Firefox", "Safari"}
    assert found["Firefox"].is_current
    assert not found["Safari"].is_current
    assert found["Safari"].address == "192.0.2.2"
    assert found["Safari"].created_at <= found["Safari"].last_seen < found["Safari"].expires_at


def test_the_last_seen_comes_first():
    clock = ManualClock()
    manager = SessionManager(MemoryStore(clock=clock), clock=clock)
    for _ in range(3):
        session = manager.open()
        session.login("ann")
        session.save()
        clock.advance(timedelta(minutes=1))
    seen = [each.last_seen for each in manager.sessions("ann")]
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 3


def test_a_handle_ends_a_session_and_cannot_resume_it(devices):
    first, second = devices
    other = next(each for each in list_sessions(first) if not each.is_current)
    assert second.get(get_owner, cookie=f"__Host-id={other.handle}").result is None
    assert second.get(get_owner, cookie=f"__Host-id={other.handle[:32]}").result is None
    assert first.middleware.manager.revoke(other.handle) is True
    assert second.get(get_owner).result is None
    assert first.get(get_owner).result == "ann"
    assert first.middleware.manager.revoke(other.handle) is False


def test_a_session_id_is_no_handle(devices):
    first, _ = devices
    with pytest.raises(SessionError, match="what may be a session ID") as caught:
        first.middleware.manager.revoke(first.session_id)
    assert first.session_id not in str(caught.value)
    assert first.get(get_owner).result == "ann"


def test_a_handle_is_in_no_repr(devices):
    assert all(each.handle not in repr(each) for each in list_sessions(devices[0]))


def test_all_others_end_and_this_one_stays(devices):
    first, second = devices
    assert first.get(lambda session: session.revoke_others()).result == 1
    assert first.get(get_owner).result == "ann"
    assert second.get(get_owner).result is None


def test_all_others_end_in_the_request_that_logs_in(devices, make_browser):
    third = make_browser(store=devices[0].store)

    def log_in_alone(session):
        session.login("ann")
        return session.revoke_others()

    assert third.get(log_in_alone).result == 2
    assert third.get(get_owner).result == "ann"


def test_a_visitor_has_no_others(make_browser):
    def end_others(session):
        with pytest.raises(SessionError, match="login"):
            session.revoke_others()

    make_browser().get(end_others)


def test_all_end(devices):
    first, second = devices
    assert first.middleware.manager.revoke_all("ann") == 2
    assert [each.get(get_owner).result for each in (first, second)] == [None, None]


def test_the_client_is_kept_only_where_the_app_asks_for_it(make_browser):
    browser = make_browser()
    browser.environ |= {"HTTP_USER_AGENT": "Firefox", "REMOTE_ADDR": "192.0.2.1"}
    browser.get(log_in)
    (found,) = list_sessions(browser)
    assert (found.user_agent, found.address) == (None, None)


def test_a_hashed_client_is_recognised_and_not_shown(make_browser):
    store = MemoryStore()
    for _ in range(2):
        browser = make_browser(store=store, keep_client="hashed")
        browser.environ |= {"HTTP_USER_AGENT": "Firefox", "REMOTE_ADDR": "192.0.2.1"}
        browser.get(log_in)
    first, second = list_sessions(browser)
    assert (first.user_agent, first.address) == (second.user_agent, second.address)
    assert first.user_agent not in (None, "", "Firefox")
    assert first.address not in (None, "", "192.0.2.1")


def test_the_client_stays_when_the_session_is_emptied_or_gets_a_new_id(devices):
    first, _ = devices
    first.get(lambda session: [session.pop(key) for key in list(session)])
    first.get(lambda session: session.cycle_id())
    assert {each.user_agent for each in list_sessions(first)} == {"Firefox", "Safari"}


def test_the_client_is_no_key_of_the_session(devices):
    assert devices[0].get(lambda session: list(session)).result == ["n"]


def test_a_login_beyond_the_limit_ends_the_oldest(make_browser):
    browsers = [make_browser(max_per_owner=2)]
    browsers += [make_browser(store=browsers[0].store, max_per_owner=2) for _ in range(2)]
    for browser in browsers:
        browser.get(log_in)
    assert [browser.get(get_owner).result for browser in browsers] == [None, "ann", "ann"]


def test_the_limit_counts_a_session_that_logs_in_again_once(make_browser):
    browser = make_browser(max_per_owner=1)
    for _ in range(3):
        browser.get(log_in)
    assert browser.get(get_owner).result == "ann"


@pytest.mark.parametrize("options", [{"max_per_owner": 0}, {"max_per_owner": "3"}, {"keep_client": "yes"}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        SessionManager(MemoryStore(), **options)


def test_encrypted_sessions_are_listed_too(make_browser):
    browser = make_browser(encryption_keys=[KEY], keep_client="plain")
    browser.environ |= {"HTTP_USER_AGENT": "Firefox", "REMOTE_ADDR": "192.0.2.1"}
    browser.get(log_in)
    (found,) = list_sessions(browser)
    assert (found.user_agent, found.is_current) == ("Firefox", True)


def test_a_handle_from_a_form_ends_only_its_owners_sessions(devices):
    first, second = devices
    manager = first.middleware.manager
    other = next(each for each in list_sessions(first) if not each.is_current)
    assert manager.revoke(other.handle, owner="eve") is False
    assert second.get(get_owner).result == "ann"
    assert manager.revoke("0" * 64, owner="ann") is False
    assert manager.revoke(other.handle, owner="ann") is True
    assert second.get(get_owner).result is None


def test_a_handle_of_nobodys_session_is_no_owners(browser):
    browser.get(lambda session: session.update(n=1))
    handle = SessionID(browser.session_id).id_hash
    for owner in ("", "ann"):
        assert browser.middleware.manager.revoke(handle, owner=owner) is False
    assert browser.get(dict).result == {"n": 1}


def test_a_visitor_can_sign_out_everywhere(devices):
    first, second = devices
    assert first.get(lambda session: session.revoke_all()).result == 2
    assert first.cookie == ""
    assert [each.get(get_owner).result for each in devices] == [None, None]
    with pytest.raises(SessionError, match="login"):
        second.get(lambda session: session.revoke_all())
