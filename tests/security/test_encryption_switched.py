"""Encryption switched on and off on a live site: what is read, what is ignored and told, and nothing that is lost."""

import threading
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgisessions import (
    ConfigurationError,
    DecodeError,
    JSONCodec,
    LockLost,
    MemoryStore,
    OnInactivity,
    SessionConflict,
    SessionInterrupted,
    SessionManager,
    StoreUnavailable,
    merge,
)
from wsgisessions.keyring import decode_base64, encode_base64, is_encrypted
from wsgisessions.record import Patch
from wsgisessions.session_ids import SessionID, moved_hash

KEY = "a secret key" * 4
PRESENT = datetime.now(timezone.utc)
TOMORROW = PRESENT + timedelta(days=1)
YESTERDAY = PRESENT - timedelta(days=1)


def start(manager, **values):
    session = manager.open()
    session.update(values)
    session.save()
    return session.id


def stored(store, session_id):
    return store.load(SessionID(session_id).id_hash)


def stored_mark(store, session_id):
    return store.load(moved_hash(SessionID(session_id).id_hash))


def plant(store, session_id, **texts):
    """Write texts as a process without keys does that loaded the session before it was encrypted."""
    store.update(SessionID(session_id).id_hash, Patch(set=texts))


def names_in_plain(store, session_id):
    return {name for name, text in stored(store, session_id).fields.items() if not is_encrypted(text)}


def switched_on(store, **options):
    return SessionManager(store, encryption_keys=[KEY], read_plain_until=TOMORROW, **options)


@pytest.fixture
def store(make_recording_store):
    return make_recording_store()


@pytest.fixture
def plain(store):
    return SessionManager(store)


@pytest.fixture
def manager(store):
    return switched_on(store)


# --- on, at once


@pytest.mark.parametrize("until", [None, YESTERDAY])
def test_what_was_stored_in_plain_is_ignored_and_told_once(store, plain, log, until):
    ids = [start(plain, is_admin=True) for _ in range(3)]
    manager = SessionManager(store, encryption_keys=[KEY], read_plain_until=until)
    assert [dict(manager.open(each)) for each in ids] == [{}] * 3
    (told,) = log()
    assert "read_plain_until" in told
    assert not any(each in told for each in ids)


def test_the_days_of_reading_plain_end(store, plain, clock):
    session_id = start(plain, n=1)
    manager = SessionManager(
        store,
        encryption_keys=[KEY],
        read_plain_until=clock() + timedelta(days=3),
        clock=clock,
        expiry=OnInactivity(timedelta(days=9)),
    )
    assert dict(manager.open(session_id)) == {"n": 1}
    clock.advance(timedelta(days=3))
    assert dict(manager.open(session_id)) == {}


def test_a_visitor_whose_session_is_ignored_gets_a_new_one(store, make_browser):
    browser = make_browser(store)
    browser.get(lambda session: session.update(n=1))
    old = browser.cookie
    encrypting = make_browser(store, encryption_keys=[KEY])
    encrypting.cookie = old
    encrypting.get(lambda session: session.update(n=session.get("n", 100) + 1))
    assert encrypting.cookie not in ("", old)
    assert encrypting.get(dict).result == {"n": 101}


# --- on, with days of reading plain


def test_a_plain_session_is_read_and_its_next_write_encrypts_all_of_it(store, plain, manager):
    session = plain.open()
    session.update(cart=["tea"], n=1)
    session.expiry = OnInactivity(timedelta(days=90))
    session.save()
    found = manager.open(session.id)
    assert dict(found) == {"cart": ["tea"], "n": 1}
    assert found.expiry == OnInactivity(timedelta(days=90))
    assert names_in_plain(store, session.id) == {"cart", "n", "wsgisessions.expiry"}
    store.taken()
    found["n"] = 2
    found.save()
    assert store.taken() == ["update"]
    assert names_in_plain(store, session.id) == set()
    after = SessionManager(store, encryption_keys=[KEY]).open(session.id)
    assert (dict(after), after.expiry) == ({"cart": ["tea"], "n": 2}, OnInactivity(timedelta(days=90)))


def test_each_save_after_that_writes_only_what_changed(store, plain, manager):
    session = manager.open(start(plain, a=1, b=2))
    session["a"] = 2
    session.save()
    store.taken()
    session["b"] = 3
    session.save()
    assert store.taken() == ["update"]
    assert store.patches[-1].set.keys() == {"b"}
    assert store.patches[-1].expect == {}


def test_a_touch_encrypts_too(make_recording_store, clock):
    store = make_recording_store(clock=clock)
    until = clock() + timedelta(days=9)
    manager = SessionManager(store, encryption_keys=[KEY], read_plain_until=until, clock=clock)
    session_id = start(SessionManager(store, clock=clock), n=1)
    clock.advance(timedelta(days=2))
    session = manager.open(session_id)
    assert session["n"] == 1
    session.save()
    assert names_in_plain(store, session_id) == set()


def test_a_new_id_encrypts_too(store, plain, manager):
    session = manager.open(start(plain, n=1, m=2))
    session.cycle_id()
    session.save()
    assert names_in_plain(store, session.id) == set()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session.id)) == {"n": 1, "m": 2}


def test_a_login_encrypts_too_and_takes_a_double_click(store, plain, manager):
    session_id = start(plain, cart=["tea"])
    clicks = [manager.open(session_id), manager.open(session_id)]
    for session in clicks:
        assert session["cart"] == ["tea"]
        session.login("ann")
    for session in clicks:
        session.save()
    after = SessionManager(store, encryption_keys=[KEY])
    for session in clicks:
        assert names_in_plain(store, session.id) == set()
        found = after.open(session.id)
        assert (found.owner, dict(found)) == ("ann", {"cart": ["tea"]})
    mark = store.load(moved_hash(SessionID(session_id).id_hash))
    assert all(is_encrypted(text) for text in mark.fields.values())


def test_a_session_of_an_owner_without_any_key_is_encrypted_too(store, plain, manager):
    session = plain.open()
    session.login("ann")
    session.save()
    both = [manager.open(session.id), manager.open(session.id)]
    for number, each in enumerate(both):
        assert each.owner == "ann"
        each[str(number)] = number
    for each in both:
        each.save()
    found = SessionManager(store, encryption_keys=[KEY]).open(session.id)
    assert (found.owner, dict(found)) == ("ann", {"0": 0, "1": 1})


def test_a_removed_key_is_gone(store, plain, manager):
    session = manager.open(start(plain, n=1, m=2))
    del session["n"]
    session.save()
    assert dict(manager.open(session.id)) == {"m": 2}


def test_an_emptied_session_is_deleted(store, plain, manager):
    session_id = start(plain, n=1)
    session = manager.open(session_id)
    del session["n"]
    session.save()
    assert stored(store, session_id) is None


# --- beside other requests


def test_a_request_that_encrypts_loses_nothing_that_another_one_wrote_in_plain(store, plain, manager):
    session_id = start(plain, n=1, m=1, gone=1)
    old_process = plain.open(session_id)
    session = manager.open(session_id)
    assert dict(session) == dict(old_process)
    old_process["n"] = 2
    del old_process["gone"]
    old_process.save()
    session["m"] = 5
    session.save()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session_id)) == {"n": 2, "m": 5}


def test_of_two_requests_that_both_encrypt_none_loses_a_write(store, plain, manager):
    session_id = start(plain, n=1, m=1)
    both = [manager.open(session_id), manager.open(session_id)]
    for session, key in zip(both, "nm", strict=True):
        session[key] += 10
    for session in both:
        session.save()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session_id)) == {"n": 11, "m": 11}
    # What the later one has learnt holds for its next write.
    both[1]["m"] += 1
    store.taken()
    both[1].save()
    assert store.taken() == ["update"]
    assert manager.open(session_id)["m"] == 12


def test_a_touch_that_encrypts_loses_no_write(make_recording_store, clock):
    store = make_recording_store(clock=clock)
    until = clock() + timedelta(days=9)
    manager = SessionManager(store, encryption_keys=[KEY], read_plain_until=until, clock=clock)
    session_id = start(SessionManager(store, clock=clock), n=1)
    clock.advance(timedelta(days=2))
    reading, writing = manager.open(session_id), manager.open(session_id)
    assert reading["n"] == writing["n"] == 1
    writing["n"] = 2
    writing.save()
    reading.save()
    assert dict(manager.open(session_id)) == {"n": 2}


def test_what_a_process_without_keys_writes_after_all_is_read_and_encrypted(store, plain, manager):
    session_id = start(plain, n=1)
    old_process = plain.open(session_id)
    assert old_process["n"] == 1
    session = manager.open(session_id)
    session["m"] = 2
    session.save()
    old_process["n"], old_process["new"] = 5, [1]
    old_process.save()
    assert names_in_plain(store, session_id) == {"n", "new"}
    found, rival = manager.open(session_id), manager.open(session_id)
    assert dict(found) == dict(rival) == {"n": 5, "m": 2, "new": [1]}
    found["m"] = 3
    rival["n"] = 6
    for each in (found, rival):
        each.save()
        assert names_in_plain(store, session_id) == set()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session_id)) == {"n": 6, "m": 3, "new": [1]}


def test_a_text_in_plain_within_an_encrypted_session_is_refused_after_those_days(store, plain, manager):
    session_id = start(manager, n=1)
    plant(store, session_id, n="2")
    with pytest.raises(DecodeError, match="'n'"):
        SessionManager(store, encryption_keys=[KEY], read_plain_until=YESTERDAY).open(session_id)["n"]


def test_a_text_that_was_tampered_with_is_no_plain_one(store, manager):
    session_id = start(manager, n=1)
    text = stored(store, session_id).fields["n"]
    plant(store, session_id, n=text[:-4] + ("AAAA" if not text.endswith("AAAA") else "BBBB"))
    with pytest.raises(DecodeError, match="cannot be decrypted"):
        manager.open(session_id)["n"]


def test_requests_at_once_encrypt_one_session_and_lose_nothing(any_store):
    session_id = start(SessionManager(any_store), **{str(number): 0 for number in range(4)})
    managers = [switched_on(any_store) for _ in range(4)]
    begin, errors = threading.Barrier(4), []

    def visit(number):
        try:
            for manager in managers:
                session = manager.open(session_id)
                session[str(number)] += 1
                if manager is managers[0]:
                    begin.wait()
                session.save()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=visit, args=[number]) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    found = SessionManager(any_store, encryption_keys=[KEY]).open(session_id)
    assert dict(found) == {str(number): 4 for number in range(4)}
    assert names_in_plain(any_store, session_id) == set()


def test_refused_are_only_changes_of_the_same_key(store, plain):
    manager = switched_on(store, on_conflict="refuse")
    session_id = start(plain, n=1, m=1)
    first, second, third = (manager.open(session_id) for _ in range(3))
    first["n"] += 1
    second["m"] += 1
    third["n"] += 1
    first.save()
    second.save()
    with pytest.raises(SessionConflict, match="'n'"):
        third.save()
    assert dict(manager.open(session_id)) == {"n": 2, "m": 2}


def test_changes_are_merged(store, plain):
    manager = switched_on(store, merges={"n": merge.add})
    session_id = start(plain, n=1)
    both = [manager.open(session_id), manager.open(session_id)]
    for session in both:
        session["n"] += 10
    for session in both:
        session.save()
    assert manager.open(session_id)["n"] == 21


def test_under_a_lock_too(store, plain, manager):
    session_id = start(plain, n=1, m=1)
    locked, other = manager.open(session_id), manager.open(session_id)
    assert other["m"] == 1
    with locked.lock():
        locked["n"] += 1
        other["m"] += 1
        other.save()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session_id)) == {"n": 2, "m": 2}


def test_a_lease_that_ran_out_is_told_from_an_encryption_meanwhile(store, plain, manager):
    session_id = start(plain, n=1)
    session = manager.open(session_id)

    def change_without_the_lock():
        with session.lock(lease=0.01):
            session["n"] += 1
            threading.Event().wait(0.05)

    with pytest.raises(LockLost):
        change_without_the_lock()
    assert plain.open(session_id)["n"] == 1


def test_a_session_that_is_deleted_meanwhile_is_not_brought_back(store, plain, manager):
    session_id = start(plain, n=1)
    session = manager.open(session_id)
    session["n"] += 1
    plant(store, session_id, n="5")  # so that the first attempt is a conflict
    real_load, loads = store.load, []

    def load(id_hash):
        loads.append(id_hash)
        store.delete(id_hash)
        return real_load(id_hash)

    store.load = load
    with pytest.raises(SessionInterrupted):
        session.save()
    assert loads
    assert stored(store, session_id) is None


def test_a_save_whose_answer_is_lost_may_be_tried_again(store, plain, manager, monkeypatch):
    session = manager.open(start(plain, n=1, m=1))
    session["n"] = 2
    real_update = store.update

    def update(id_hash, patch):
        real_update(id_hash, patch)
        raise StoreUnavailable("the answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(store, "update", update)
        with pytest.raises(StoreUnavailable):
            session.save()
    session.save()
    assert dict(SessionManager(store, encryption_keys=[KEY]).open(session.id)) == {"n": 2, "m": 1}


def test_the_mark_of_a_process_without_keys_is_read(store, plain, manager):
    session_id = start(plain, cart=["tea"])
    session = plain.open(session_id)
    session.login("ann")
    session.save()
    late = manager.open(session_id)
    assert dict(late) == {"cart": ["tea"]}
    late["n"] = 1
    with pytest.raises(SessionInterrupted):
        late.save()


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)), st.data())
def test_whoever_comes_first_every_change_is_there(values, data):
    """Any order of loads and saves, with keys and without: the session ends as the saves say, in their order."""
    store = MemoryStore()
    plain, manager = SessionManager(store), switched_on(store)
    session_id = start(plain, start=0, **values)
    expected = {"start": 0, **values}
    # Those without keys load before anything is encrypted.
    sessions = [(plain if data.draw(st.booleans()) else manager).open(session_id) for _ in range(3)]
    for session in sessions:
        assert session["start"] == 0
    for session in data.draw(st.permutations(sessions)):
        key = data.draw(st.sampled_from("abcd"))
        if data.draw(st.booleans()):
            session[key] = expected[key] = data.draw(st.integers(4, 9))
        elif key in session and key in expected:
            del session[key]
            del expected[key]
        session.save()
    assert dict(manager.open(session_id)) == expected


# --- off


def test_encrypted_sessions_are_ignored_without_keys_and_told_once(store, manager, plain, log):
    ids = [start(manager, n="a value") for _ in range(2)]
    for each in ids:
        assert dict(plain.open(each)) == {}
    (told,) = log()
    assert "encryption_keys=[key]" in told
    assert not any(each in told for each in ids)


def test_without_keys_no_value_comes_out_of_a_mark(store, manager, plain):
    session_id = start(manager, cart=["tea"])
    session = manager.open(session_id)
    session.login("ann")
    session.save()
    late = plain.open(session_id)
    assert dict(late) == {}
    login = SessionManager(store).open(session_id)
    login.login("ann")
    with pytest.raises(SessionInterrupted):
        login.save()


def test_without_keys_the_list_of_sessions_shows_no_client(make_browser):
    browser = make_browser(MemoryStore(), encryption_keys=[KEY], keep_client="plain")
    browser.environ |= {"HTTP_USER_AGENT": "Firefox"}
    browser.get(lambda session: session.login("ann"))
    (found,) = SessionManager(browser.store).sessions("ann")
    assert (found.user_agent, found.address) == (None, None)


# --- the option


@pytest.mark.parametrize("until", [datetime(2030, 1, 1), TOMORROW.date(), "2030-01-01", 3600])
def test_an_instant_that_is_none_is_refused(store, until):
    with pytest.raises(ConfigurationError, match="read_plain_until is an aware datetime"):
        SessionManager(store, encryption_keys=[KEY], read_plain_until=until)


def test_reading_plain_needs_encryption(store):
    with pytest.raises(ConfigurationError, match="read_plain_until is for encryption_keys"):
        SessionManager(store, read_plain_until=TOMORROW)


# --- what a review found


class Base64Codec(JSONCodec):
    """A codec whose texts look like encrypted ones: a version byte, and base64."""

    def encode(self, value):
        return encode_base64(b"\x01" + super().encode(value).encode())

    def decode(self, text, type=None):
        plain = decode_base64(text)[1:].decode()
        return super().decode(plain) if type is None else super().decode(plain, type)


def test_a_plain_text_is_encrypted_whatever_it_looks_like(store):
    cart = ["tea", "pot", "cups and saucers"]
    session_id = start(SessionManager(store, codec=Base64Codec()), cart=cart, n=1)
    manager = switched_on(store, codec=Base64Codec())
    session = manager.open(session_id)
    assert session["cart"] == cart
    session["n"] = 2
    before = stored(store, session_id).fields
    session.save()
    after = stored(store, session_id).fields
    assert before.keys() < after.keys()
    assert all(after[name] != before[name] for name in before)
    assert dict(SessionManager(store, codec=Base64Codec(), encryption_keys=[KEY]).open(session_id)) == {
        "cart": cart,
        "n": 2,
    }


def test_a_double_clicked_login_beside_the_conversion_is_two_logins(store, plain, manager):
    session_id = start(plain, cart=["tea"])
    writer, first, second = (manager.open(session_id) for _ in range(3))
    for each in (writer, first, second):
        assert each["cart"] == ["tea"]
    writer["seen"] = 1
    first.login("ann")
    second.login("ann")
    for each in (writer, first, second):
        each.save()
    assert [(each.owner, manager.open(each.id)["cart"]) for each in (first, second)] == [("ann", ["tea"])] * 2


def test_a_process_without_keys_finds_what_was_encrypted_meanwhile_gone(store):
    plain = SessionManager(store, merges={"n": merge.add})
    session_id = start(plain, n=1)
    old = plain.open(session_id)
    old["n"] += 1
    new = switched_on(store).open(session_id)
    new["x"] = 1
    new.save()
    with pytest.raises(SessionInterrupted):
        old.save()


@pytest.mark.parametrize("text", ["\udcff", "\0\udcff"])
def test_a_text_that_nobody_can_decode_spoils_its_own_key_only(store, plain, manager, text):
    limited = SessionManager(store, max_bytes=1000)
    for current, first in ((plain, plain), (limited, plain), (manager, plain), (manager, manager)):
        session_id = start(first, a=1)
        plant(store, session_id, b=text)
        session = current.open(session_id)
        session["c"] = session["a"]
        session.save()
        session.login("ann")
        session.save()
        if current is plain:
            assert "b" not in stored_mark(store, session_id).fields
        found = current.open(session.id)
        assert (found["a"], found["c"], found.owner) == (1, 1, "ann")
        with pytest.raises(DecodeError):
            found["b"]
