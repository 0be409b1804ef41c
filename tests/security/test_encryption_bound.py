"""What a stored session is bound to, on every engine: a change of it in the store makes the session unreadable."""

import secrets
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wsgisessions import DecodeError, MemoryStore, OnInactivity, SessionManager
from wsgisessions.record import Patch, Record
from wsgisessions.seal import bound_to
from wsgisessions.session_ids import SessionID, moved_hash
from wsgisessions.testing import ManualClock

KEY = "a secret key" * 4
INSTANTS = st.just(datetime(2026, 7, 1, tzinfo=timezone.utc)) | st.datetimes(
    datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(timezone.utc)
)
OWNERS = st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["", " ", "1 ", "0 ann"])


@pytest.fixture(params=[0, 1, 499, 500, 501, 999, 999_999], ids=lambda each: f"{each} microseconds")
def present(request):
    """Return a clock that stands at an instant which not every engine can hold."""
    instant = datetime.now(timezone.utc).replace(microsecond=request.param)
    return lambda: instant


def signed_in(manager, owner="ann"):
    session = manager.open()
    session["n"] = 1
    session.login(owner)
    session.save()
    return session.id


def tamper(store, session_id, **changes):
    """Replace the session's record by one that differs."""
    id_hash = SessionID(session_id).id_hash
    record = store.load(id_hash)
    store.delete(id_hash)
    assert store.create(id_hash, replace(record, **changes))


def test_a_session_is_read_whatever_precision_the_engine_has(any_store, present):
    manager = SessionManager(any_store, encryption_keys=[KEY], clock=present)
    assert manager.open(signed_in(manager)).owner == "ann"
    visitor = manager.open()
    visitor["n"] = 1
    visitor.save()
    session = manager.open(visitor.id)
    session.login("ben ü \x7f")
    session.save()
    session = manager.open(session.id)
    assert (session.owner, session["n"]) == ("ben ü \x7f", 1)
    session.cycle_id()
    session["n"] = 2
    session.save()
    assert manager.open(session.id)["n"] == 2


def test_a_session_that_is_given_to_another_owner_is_ignored(any_store, caplog):
    manager = SessionManager(any_store, encryption_keys=[KEY])
    for owner in ("admin", "", "ann ", None):
        session_id = signed_in(manager)
        tamper(any_store, session_id, owner=owner)
        session = manager.open(session_id)
        assert (session.owner, dict(session)) == (None, {})
        assert "owner or creation time was changed" in caplog.text
        caplog.clear()


def test_an_owner_written_into_a_visitors_session_is_ignored(any_store):
    manager = SessionManager(any_store, encryption_keys=[KEY])
    session = manager.open()
    session["n"] = 1
    session.save()
    for owner in ("admin", ""):
        any_store.update(SessionID(session.id).id_hash, Patch(owner=owner))
        assert dict(manager.open(session.id)) == {}


def test_an_absolute_limit_cannot_be_put_off_in_the_store(any_store):
    expiry = OnInactivity(timedelta(minutes=30), absolute=timedelta(hours=1))
    manager = SessionManager(any_store, encryption_keys=[KEY], expiry=expiry)
    session_id = signed_in(manager)
    created_at = any_store.load(SessionID(session_id).id_hash).created_at
    tamper(any_store, session_id, created_at=created_at + timedelta(milliseconds=1))
    assert dict(manager.open(session_id)) == {}


@pytest.mark.parametrize("is_own", [False, True])
def test_an_absolute_limit_holds_whatever_deadline_the_store_has(any_store, is_own):
    now = datetime.now(timezone.utc)
    limit = OnInactivity(timedelta(minutes=30), absolute=timedelta(hours=1))
    options = {} if is_own else {"expiry": limit}
    session = SessionManager(any_store, encryption_keys=[KEY], **options).open()
    session["n"] = 1
    if is_own:
        session.expiry = limit
    session.save()
    any_store.update(SessionID(session.id).id_hash, Patch(expires_at=now + timedelta(days=9)))
    for hours, found in [(0.9, {"n": 1}), (1.1, {})]:
        clock = ManualClock(now + timedelta(hours=hours))
        assert dict(SessionManager(any_store, encryption_keys=[KEY], clock=clock, **options).open(session.id)) == found


def test_what_is_not_bound(any_store):
    """Parallel patches add, remove and touch; so the store's writer can, too. docs/security.md says so."""
    manager = SessionManager(any_store, encryption_keys=[KEY])
    session_id = signed_in(manager)
    id_hash = SessionID(session_id).id_hash
    before = any_store.load(id_hash)
    session = manager.open(session_id)
    session["n"] = 2
    session["m"] = 3
    session.save()
    later = before.expires_at + timedelta(days=1)
    any_store.update(id_hash, Patch(set={"n": before.fields["n"]}, remove=["m"], expires_at=later))
    session = manager.open(session_id)
    assert (dict(session), session.expires_at.replace(microsecond=0)) == ({"n": 1}, later.replace(microsecond=0))


@given(st.lists(st.tuples(INSTANTS, OWNERS), min_size=2, max_size=2))
def test_no_two_sessions_are_bound_to_the_same(both):
    id_hash = secrets.token_hex(32)
    one, other = (bound_to(id_hash, Record({}, created, created, created, owner)) for created, owner in both)
    milliseconds = [created.replace(microsecond=created.microsecond // 1000 * 1000) for created, _ in both]
    are_same = milliseconds[0] == milliseconds[1] and both[0][1] == both[1][1]
    assert (one == other) == are_same


def test_names_and_owners_that_nobody_can_have_do_no_harm():
    store = MemoryStore()
    manager = SessionManager(store, encryption_keys=[KEY])
    session_id = signed_in(manager)
    id_hash = SessionID(session_id).id_hash
    store.update(id_hash, Patch(set={"\ud800": "x"}))
    session = manager.open(session_id)
    assert session["n"] == 1
    with pytest.raises(DecodeError):
        session["\ud800"]
    store.update(id_hash, Patch(owner="\ud800"))
    assert manager.open(session_id).owner is None


# --- any codec


class Shouting:
    """Wraps another codec, and shows what it was asked to decode."""

    def __init__(self, inner):
        self.inner = inner
        self.decoded = []
        self.immutable_types = inner.immutable_types

    def encode(self, value):
        return f"shouted {self.inner.encode(value)}"

    encode_typed = encode

    def decode(self, text, type=None):
        self.decoded.append(text)
        return self.inner.decode(text.removeprefix("shouted "))


class AnyText:
    """Takes every text for a value."""

    immutable_types = frozenset([str])

    def encode(self, value):
        return value

    encode_typed = encode

    def decode(self, text, type=None):
        return text


def texts_of(store, session_id):
    return {name: text for name, text in store.load(SessionID(session_id).id_hash).fields.items() if "." not in name}


@pytest.mark.parametrize("make", ["wrapped", "inherited", "any text"])
def test_with_any_codec_the_store_sees_no_value(store, make):
    from wsgisessions import JSONCodec

    class Inherited(JSONCodec):
        def encode(self, value):
            return super().encode(value)

    codec = {"wrapped": Shouting(JSONCodec()), "inherited": Inherited(allow_nan=True), "any text": AnyText()}[make]
    manager = SessionManager(store, codec=codec, encryption_keys=[KEY])
    session = manager.open()
    session["name"] = "Ann Example"
    session.save()
    assert "Ann" not in repr(texts_of(store, session.id))
    assert manager.open(session.id)["name"] == "Ann Example"


def test_no_codec_is_given_what_was_tampered_with(store):
    from wsgisessions import JSONCodec

    for codec in (AnyText(), Shouting(JSONCodec())):
        manager = SessionManager(store, codec=codec, encryption_keys=[KEY])
        session = manager.open()
        session.update(a="a value", b="another")
        session.save()
        for planted in (texts_of(store, session.id)["b"], "plain", '"plain"', "", "\u20ac", "AQ"):
            store.update(SessionID(session.id).id_hash, Patch(set={"a": planted}))
            found = manager.open(session.id)
            with pytest.raises(DecodeError, match=r"'a'.*cannot be decrypted"):
                found["a"]
            with pytest.raises(DecodeError, match="'a'"):
                found.get("a", type=str)
            assert found["b"] == "another"


def test_the_version_comes_first_and_another_one_is_refused(store):
    import base64

    manager = SessionManager(store, encryption_keys=[KEY])
    session = manager.open()
    session["n"] = 1
    session.save()
    id_hash = SessionID(session.id).id_hash
    for name, text in store.load(id_hash).fields.items():
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        assert data[0] == 1
        other = base64.urlsafe_b64encode(b"\2" + data[1:]).decode().rstrip("=")
        store.update(id_hash, Patch(set={name: other}))
    assert dict(manager.open(session.id)) == {}


def test_a_session_under_an_old_key_is_written_under_the_new_one_by_a_touch_too(make_recording_store, clock):
    store = make_recording_store(clock=clock)
    old, new = "old key" * 6, "new key" * 6
    session = SessionManager(store, encryption_keys=[old], clock=clock).open()
    session["n"] = 1
    session.login("ann")
    session.save()
    clock.advance(timedelta(days=2))
    touching = SessionManager(store, encryption_keys=[new, old], clock=clock).open(session.id)
    assert touching["n"] == 1
    touching.save()
    assert store.patches[-1].set.keys() == {"wsgisessions.key"}
    found = SessionManager(store, encryption_keys=[new], clock=clock).open(session.id)
    assert (found.owner, dict(found)) == ("ann", {"n": 1})


def test_a_mark_ends_after_ten_seconds_whatever_deadline_the_store_has(make_recording_store):
    clock = ManualClock(datetime.now(timezone.utc))
    store = make_recording_store(clock=clock)
    manager = SessionManager(store, encryption_keys=[KEY], clock=clock)
    visitor = manager.open()
    visitor["address"] = "a street"
    visitor.save()
    old_id = visitor.id
    login = manager.open(old_id)
    assert login["address"] == "a street"
    login.login("ann")
    login.save()
    id_hash = moved_hash(SessionID(old_id).id_hash)
    mark = store.load(id_hash)
    store.delete(id_hash)
    store.create(id_hash, replace(mark, expires_at=clock() + timedelta(days=300)))
    assert manager.open(old_id)["address"] == "a street"
    clock.now += timedelta(seconds=10)
    assert dict(manager.open(old_id)) == {}
