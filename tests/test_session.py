"""The session as the app sees it: a mapping, lazy, safe for threads, and telling nothing."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest

from wsgisessions import (
    ConfigurationError,
    DecodeError,
    EncodeError,
    MemoryStore,
    Patch,
    Session,
    SessionError,
    SessionManager,
    get_session,
)
from wsgisessions.session import exchange_of
from wsgisessions.session_ids import SessionID


@pytest.fixture
def manager(store):
    return SessionManager(store)


@pytest.fixture
def visit(manager):
    """Return a function that runs a view on the one session of a visitor, and commits."""
    ids = [None]

    def visit(view):
        session = manager.open(ids[0])
        result = view(session)
        session.save()
        ids[0] = session.id
        return result

    return visit


def test_it_is_a_mutable_mapping(visit):
    def write(session):
        session["a"] = 1
        session.update({"b": 2}, c=3)
        assert session.setdefault("d", []) == []
        session["d"].append(4)

    def read(session):
        assert list(session) == ["a", "b", "c", "d"]
        assert list(session.keys()) == ["a", "b", "c", "d"]
        assert list(session.values()) == [1, 2, 3, [4]]
        assert dict(session.items()) == {"a": 1, "b": 2, "c": 3, "d": [4]}
        assert "a" in session
        assert "z" not in session
        assert 1 not in session
        assert len(session) == 4
        assert session
        assert session.get("z") is None
        assert session.get("z", 0) == 0
        assert session == {"a": 1, "b": 2, "c": 3, "d": [4]}
        assert session.pop("a") == 1
        assert session.pop("a", None) is None
        del session["b"]
        with pytest.raises(KeyError):
            session["b"]
        with pytest.raises(KeyError):
            del session["b"]
        assert session.popitem() == ("c", 3)

    visit(write)
    visit(read)
    assert visit(dict) == {"d": [4]}


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session["nested"]["list"].append(2),
        lambda session: session["nested"]["dict"].update(b=1),
        lambda session: session["nested"]["tuple"][0].append(1),
        lambda session: session.get("nested").pop("list"),
        lambda session: next(iter(session.values()))["list"].clear(),
        lambda session: session.setdefault("nested", {}).update(new=1),
    ],
)
def test_a_change_inside_a_nested_value_is_found(visit, change):
    visit(lambda session: session.update(nested={"list": [1], "dict": {}, "tuple": ([],)}))
    before = visit(dict)["nested"]
    visit(change)
    assert visit(dict)["nested"] != before


def test_a_value_changed_after_its_assignment_is_found(visit):
    def view(session):
        cart = []
        session["cart"] = cart
        cart.append("x")

    visit(view)
    assert visit(dict) == {"cart": ["x"]}


def test_a_value_changed_after_a_save_is_found(visit):
    def view(session):
        cart = session.setdefault("cart", [])
        cart.append("x")
        session.save()
        cart.append("y")

    visit(view)
    assert visit(dict) == {"cart": ["x", "y"]}


def test_an_unchanged_nested_value_is_not_written(browser):
    browser.get(lambda session: session.update(items={"b": {3, 1, 2}, "a": [1, (2,)]}))
    response = browser.get(lambda session: session["items"]["b"])
    assert response.commands == ["load"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "session key 'k': the value is of type builtins.object"),
        ({"a": [1, object()]}, r"\['a'\]\[1\] is of type builtins.object"),
        ({"a": {1: object()}}, r"\['a'\]\[a key of type int\]"),
        (float("nan"), "is nan, which JSON cannot hold"),
        ([float("inf")], r"\[0\] is inf"),
        ("\ud800", "lone surrogate"),
        (lambda: None, "builtins.function"),
    ],
)
def test_a_value_that_cannot_be_kept_raises_where_it_is_assigned(manager, value, message):
    session = manager.open()
    session["k"] = "before"
    with pytest.raises(EncodeError, match=message) as caught:
        session["k"] = value
    assert isinstance(caught.value, TypeError)
    assert session["k"] == "before"


def test_a_value_that_contains_itself_is_refused(manager):
    loop = []
    loop.append(loop)
    with pytest.raises(EncodeError, match="contains itself"):
        manager.open()["k"] = loop


@pytest.mark.parametrize("key", [1, None, b"k", ("a",), "nul\0", "sur\ud800rogate", "wsgisessions.expiry"])
def test_a_key_that_cannot_be_kept_is_refused(manager, key):
    session = manager.open()
    with pytest.raises(EncodeError):
        session[key] = 1
    assert key not in session


def test_a_text_that_no_longer_decodes_spoils_its_own_key_only(store, manager):
    session = manager.open()
    session.update(good=1, bad=2, worse=3)
    session.save()
    id_hash = SessionID(session.id).id_hash
    store.update(id_hash, Patch(set={"bad": "{no json", "worse": '{"$unknown": 1}'}))

    session = manager.open(session.id)
    assert session["good"] == 1
    assert len(session) == 3
    for name in ("bad", "worse"):
        with pytest.raises(DecodeError, match=f"session key '{name}'"):
            session[name]
    session["bad"] = 4
    del session["worse"]
    session.save()
    assert dict(manager.open(session.id)) == {"good": 1, "bad": 4}


def test_nothing_shows_the_id(manager):
    session = manager.open()
    shown = [repr(session)]
    session["a"] = "secret"
    shown.append(repr(session))
    session.save()
    current = exchange_of(session).current
    seen = [session, current, current.stored, current.stored.session_id, current.stored.record, current.changes]
    session["a"] = ["secret"]
    patch = Patch(set=current.changes.texts(), expect=current.stored.record.fields)
    seen += [current.changes, current.changes.difference(), *current.changes.live["a"], patch, exchange_of(session)]
    shown += map(repr, seen)
    for text in shown:
        assert session.id not in text
        assert SessionID(session.id).id_hash not in text
        assert "secret" not in text


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("session_key", "session.id"),
        ("cycle_key", r"session.cycle_id\(\)"),
        ("invalidate", r"session.flush\(\)"),
        ("set_expiry", "session.expiry = "),
        ("modified", "nothing"),
    ],
)
def test_names_from_elsewhere_say_what_to_write_here(manager, name, advice):
    with pytest.raises(AttributeError, match=advice):
        getattr(manager.open(), name)


@pytest.mark.parametrize("name", ["modified", "permanent"])
def test_setting_a_name_from_elsewhere_says_what_to_write_here(manager, name):
    with pytest.raises(AttributeError, match="write "):
        setattr(manager.open(), name, True)


def test_it_merges_like_a_dict(visit):
    def view(session):
        session["a"] = 1
        session |= {"b": 2}
        assert session | {"a": 3} == {"a": 3, "b": 2}
        assert {"a": 3, "c": 4} | session == {"a": 1, "b": 2, "c": 4}
        assert session.pop("z", default=5) == 5
        copy = session.copy()
        copy["c"] = 3

    visit(view)
    assert visit(dict) == {"a": 1, "b": 2}


def test_it_cannot_be_pickled_by_accident(manager):
    with pytest.raises((TypeError, AttributeError)):
        pickle.dumps(manager.open())


def test_several_threads_of_one_request_may_use_it(visit):
    def view(session):
        def write(number):
            session[f"k{number}"] = number
            session.setdefault("shared", []).append(number)
            return session[f"k{number}"]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(write, range(200))) == list(range(200))

    visit(view)
    stored = visit(dict)
    assert len(stored) == 201
    assert sorted(stored["shared"]) == list(range(200))


def test_threads_of_one_request_take_turns_in_steps_of_two(visit):
    def view(session):
        def work(number):
            session.setdefault(f"list {number // 8}", []).append(number)

        switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(work, range(4000)))
        finally:
            sys.setswitchinterval(switch_interval)
        return sum(map(len, session.values()))

    assert visit(view) == 4000


@pytest.mark.parametrize("owner", ["\ud800", "a\0b"])
def test_an_owner_that_some_engine_cannot_hold_is_refused(manager, owner):
    with pytest.raises(SessionError, match="NUL character or a lone surrogate"):
        manager.open().login(owner)


def test_login_binds_the_owner_and_changes_the_id(visit, manager):
    visit(lambda session: session.update(cart=["x"]))
    old = visit(lambda session: session.id)

    def log_in(session):
        session.login("ann")
        assert session.owner == "ann"

    visit(log_in)
    assert visit(lambda session: (session.owner, dict(session))) == ("ann", {"cart": ["x"]})
    assert visit(lambda session: session.id) != old
    assert manager.open(old).is_new


def test_login_of_another_owner_flushes_the_data_of_the_first(visit, manager):
    def log_in(owner, **data):
        def view(session):
            session.login(owner)
            session.update(data)

        return view

    visit(log_in("ann", private=1))
    first = visit(lambda session: session.id)
    visit(log_in("bob"))
    assert visit(lambda session: (session.owner, dict(session))) == ("bob", {})
    assert manager.open(first).is_new


def test_login_again_keeps_the_data(visit):
    visit(lambda session: (session.login("ann"), session.update(a=1)))
    visit(lambda session: session.login("ann"))
    assert visit(lambda session: (session.owner, dict(session))) == ("ann", {"a": 1})


@pytest.mark.parametrize("owner", ["", None, 7])
def test_login_needs_an_owner(manager, owner):
    with pytest.raises(SessionError, match=r"an owner is a str|got an empty str"):
        manager.open().login(owner)


def test_logout_ends_the_session(visit, manager):
    visit(lambda session: session.login("ann"))
    old = visit(lambda session: session.id)
    visit(lambda session: session.logout())
    assert manager.open(old).is_new
    assert visit(lambda session: session.owner) is None


def test_an_owner_keeps_an_empty_session_alive(visit):
    visit(lambda session: (session.login("ann"), session.update(a=1)))
    visit(lambda session: session.pop("a"))
    assert visit(lambda session: session.owner) == "ann"


@pytest.mark.parametrize("owner", [None, 7])
def test_what_is_no_owner_has_no_sessions_to_end_or_to_list(manager, owner):
    for call in (manager.revoke_all, manager.sessions):
        with pytest.raises(SessionError, match=r"such as str\(user\.id\); got"):
            call(owner)


def test_revoke_all_ends_every_session_of_an_owner(manager):
    ids = []
    for owner in ("ann", "ann", "bob"):
        session = manager.open()
        session.login(owner)
        session.save()
        ids.append(session.id)
    assert manager.revoke_all("ann") == 2
    assert [manager.open(session_id).is_new for session_id in ids] == [True, True, False]


def test_reload_undoes_what_is_not_saved_and_sees_what_others_stored(manager):
    session = manager.open()
    session["a"] = 1
    session.save()
    other = manager.open(session.id)
    other["b"] = 2
    other.save()
    session["a"] = 99
    session.reload()
    assert dict(session) == {"a": 1, "b": 2}
    assert not session.is_modified


def test_what_it_is(manager):
    session = manager.open()
    assert not session.is_loaded
    assert not session.is_modified
    assert session.is_new
    assert session.is_empty
    assert session.is_loaded
    assert (session.id, session.created_at, session.expires_at, session.expires_in) == (None,) * 4
    session["a"] = 1
    assert session.is_modified
    session.save()
    assert not session.is_new
    assert not session.is_modified
    assert len(session.id) == 32
    assert session.created_at <= datetime.now(timezone.utc) < session.expires_at


def test_get_session_without_the_middleware_says_what_is_missing():
    with pytest.raises(ConfigurationError, match=r"SessionMiddleware\(app, store\)"):
        get_session({})


def test_a_purge_deletes_what_has_expired(clock):
    from datetime import timedelta

    store = MemoryStore(clock=clock)
    manager = SessionManager(store, clock=clock)
    for _ in range(1500):
        session = manager.open()
        session["a"] = 1
        session.save()
    clock.advance(timedelta(weeks=3))
    assert manager.purge() == 1500
    assert isinstance(session, Session)


def test_reload_does_not_bring_back_what_was_flushed(visit, manager):
    visit(lambda session: session.update(a=1))

    def view(session):
        session.flush()
        session.reload()
        assert dict(session) == {}

    visit(view)
    assert visit(dict) == {}


def test_reload_undoes_clear(visit):
    visit(lambda session: (session.login("ann"), session.update(a=1)))

    def view(session):
        session.clear()
        session["b"] = 1
        session.reload()
        assert (session.owner, dict(session)) == ("ann", {"a": 1})

    visit(view)
    assert visit(dict) == {"a": 1}


def test_it_shows_its_keys_and_state_but_no_value_and_no_id(browser):
    browser.get(lambda session: session.update(password="a secret", name="ann"))

    def view(session):
        shown = [repr(session), str(session), f"{session}"]
        session["items"] = ["another secret"]
        shown.append(session.get("name") and repr(session))
        shown.append(session.id)
        return shown

    *shown, session_id = browser.get(view).result
    assert shown[0] == "<Session (untouched)>"
    assert shown[-1] == "<Session (stored) with keys ['items', 'name', 'password']>"
    assert not any(secret in text for text in shown for secret in ("a secret", "another", session_id))


def test_it_compares_and_copies_and_reverses_like_a_dict(manager):
    session = manager.open()
    session.update(a=1, b=[1, 2], c="x")
    assert session == {"c": "x", "a": 1, "b": [1, 2]}
    assert session != {"a": 1}
    assert list(reversed(session)) == ["c", "b", "a"]
    copied = copy.deepcopy(session)
    assert type(copied) is dict
    copied["b"].append(3)
    assert session["b"] == [1, 2]
    assert copy.copy(session) == dict(session)
    assert type(copy.copy(session)) is dict


def test_it_cannot_be_pickled_and_says_what_to_write(manager):
    with pytest.raises(TypeError, match=r"dict\(session\)"):
        pickle.dumps(manager.open())
