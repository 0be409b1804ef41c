"""Two requests that change one key at once: the last wins, the later is refused, or both merge."""

import json
from datetime import timedelta

import pytest

from wsgisessions import (
    ConfigurationError,
    JSONCodec,
    MemoryStore,
    SessionConflict,
    SessionError,
    SessionManager,
    SessionMiddleware,
    SessionTooLarge,
    merge,
)
from wsgisessions.session_ids import SessionID


def race(store, mine, theirs, *, start=None, **options):
    """Let `theirs` change and save the session while `mine` is changing it; return what is stored."""
    manager = SessionManager(store, **options)
    session = manager.open()
    session.update({"k": start, "pad": 1} if start is not None else {"pad": 1})
    session.save()
    first, second = manager.open(session.id), manager.open(session.id)
    mine(first)
    theirs(second)
    second.save()
    first.save()
    stored = dict(manager.open(session.id))
    assert dict(first) == stored or "other" in stored
    return stored.get("k", "absent")


def put(value):
    def change(session):
        session.get("k")
        session["k"] = value

    return change


def drop(session):
    session.pop("k")


def test_by_default_the_last_wins(store):
    assert race(store, put("mine"), put("theirs"), start="base") == "mine"


def test_different_keys_never_conflict(store):
    def other(session):
        assert session["k"] == "base"
        session["other"] = 1

    assert race(store, put("mine"), other, start="base", on_conflict="refuse") == "mine"


@pytest.mark.parametrize(("mine", "theirs"), [(put("mine"), put("theirs")), (drop, put("theirs")), (put("mine"), drop)])
def test_under_refuse_the_later_change_of_a_key_is_refused(store, mine, theirs):
    with pytest.raises(SessionConflict, match="session key 'k'"):
        race(store, mine, theirs, start="base", on_conflict="refuse")


def test_under_refuse_two_first_writes_conflict_too(store):
    with pytest.raises(SessionConflict):
        race(store, put("mine"), put("theirs"), on_conflict="refuse")


def test_under_refuse_the_same_change_twice_is_refused(store):
    with pytest.raises(SessionConflict):
        race(
            store,
            lambda session: session.update(k=session["k"] + 1),
            lambda session: session.update(k=session["k"] + 2),
            start=1,
            on_conflict="refuse",
        )


def test_under_refuse_a_key_written_without_a_look_is_the_last_one_wins(store):
    assert (
        race(store, lambda session: session.update(k="mine"), put("theirs"), start="x", on_conflict="refuse") == "mine"
    )


def test_a_refused_request_is_a_409_and_writes_nothing(make_browser, caplog):
    browser = make_browser(on_conflict="refuse")
    browser.get(lambda session: session.update(k=1, other=1))

    def view(session):
        session["other"] = 2
        k = session["k"]
        other = SessionManager(browser.store).open(browser.session_id)
        other["k"] = 5
        other.save()
        session["k"] = k + 1

    assert browser.get(view).status == "409 Conflict"
    assert browser.get(dict).result == {"k": 5, "other": 1}


def change(function):
    return lambda session: session.update(k=function(session.get("k")))


@pytest.mark.parametrize(
    ("rule", "start", "mine", "theirs", "merged"),
    [
        (merge.add, 10, lambda n: n + 1, lambda n: n + 5, 16),
        (merge.add, None, lambda n: (n or 0) + 1, lambda n: (n or 0) + 5, 6),
        (merge.add, 0.5, lambda n: n - 1, lambda n: n + 0.25, -0.25),
        (merge.extend, ["a"], lambda v: [*v, "m"], lambda v: [*v, "t"], ["a", "t", "m"]),
        (merge.extend, None, lambda v: ["m"], lambda v: ["t"], ["t", "m"]),
        (merge.extend, ["a"], lambda v: [*v, "m"], lambda v: [], ["m"]),
        (merge.members, {"a": 1}, lambda v: {**v, "m": 1}, lambda v: {**v, "t": 1}, {"a": 1, "t": 1, "m": 1}),
        (merge.members, {"a": 1, "b": 1}, lambda v: {"b": 1}, lambda v: {**v, "b": 2}, {"b": 2}),
        (merge.union, {"a", "b"}, lambda v: {"a", "m"}, lambda v: {*v, "t"}, {"a", "m", "t"}),
        (lambda base, mine, theirs: max(mine, theirs), 1, lambda n: 5, lambda n: 3, 5),
    ],
)
def test_two_changes_are_merged_by_the_keys_rule(store, rule, start, mine, theirs, merged):
    assert race(store, change(mine), change(theirs), start=start, merges={"k": rule}) == merged


def test_a_rule_meets_a_removed_key_as_none(store):
    def rule(base, mine, theirs):
        assert (base, mine, theirs) == (1, None, 2)

    assert race(store, drop, put(2), start=1, merges={"k": rule}) == "absent"


@pytest.mark.parametrize(
    ("rule", "start", "mine", "theirs"),
    [
        (merge.extend, ["a", "b"], lambda v: ["b"], lambda v: [*v, "c"]),
        (merge.members, {"a": 1}, lambda v: {"a": 2}, lambda v: {"a": 3}),
        (merge.members, {"a": 1}, lambda v: {"a": 2}, lambda v: {"a": 2, "b": 1}),
        (merge.each(merge.add), {"a": 1}, lambda v: {}, lambda v: {"a": 2}),
    ],
)
def test_changes_that_a_rule_cannot_merge_are_a_conflict(store, rule, start, mine, theirs):
    with pytest.raises(SessionConflict, match="cannot be merged") as caught:
        race(store, change(mine), change(theirs), start=start, merges={"k": rule})
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_rule_goes_before_refuse(store):
    assert race(store, put(2), put(5), start=1, merges={"k": merge.add}, on_conflict="refuse") == 6


def test_a_merge_is_a_load_and_an_update_more(make_browser):
    browser = make_browser(merges={"k": merge.add})
    browser.get(lambda session: session.update(k=0))

    def view(session):
        session["k"] += 1
        other = SessionManager(browser.store).open(browser.session_id)
        other["k"] = 10
        other.save()
        browser.store.taken()

    assert browser.get(view).commands == ["update", "load", "update"]
    assert browser.get(dict).result == {"k": 11}


def test_ten_rounds_without_success_are_a_conflict(make_recording_store):
    store = make_recording_store()
    manager = SessionManager(store, merges={"k": merge.add})
    session = manager.open()
    session["k"] = 0
    session.save()

    def meddle(base, mine, theirs):
        other = SessionManager(store).open(session.id)
        other["k"] = theirs + 1
        other.save()
        return merge.add(base, mine, theirs)

    late = SessionManager(store, merges={"k": meddle}).open(session.id)
    late["k"] += 1
    other = manager.open(session.id)
    other["k"] = 1
    other.save()
    store.taken()
    with pytest.raises(SessionConflict, match="10 times in a row"):
        late.save()


def open_two(store, **values):
    manager = SessionManager(store, merges={"cart": merge.extend})
    session = manager.open()
    session.update(values)
    session.save()
    return manager.open(session.id), manager.open(session.id)


def test_a_value_that_was_merged_is_to_be_read_again(store):
    mine, theirs = open_two(store, cart=[])
    cart = mine["cart"]
    cart.append("mine")
    theirs["cart"].append("theirs")
    theirs.save()
    mine.save()
    cart.append("too late")
    with pytest.raises(SessionError, match="read it again"):
        mine.save()
    mine.reload()
    mine["cart"].append("mine too")
    mine.save()
    theirs.reload()
    assert theirs["cart"] == ["theirs", "mine", "mine too"]


def test_what_was_saved_is_known_and_merged_from_then_on(store):
    mine, theirs = open_two(store, pad=1)
    cart = ["mine"]
    mine["cart"] = cart
    mine.save()
    theirs["cart"].append("theirs")
    theirs.save()
    cart.append("mine too")
    mine.save()
    theirs.reload()
    assert theirs["cart"] == ["mine", "theirs", "mine too"]


def test_a_merge_lets_go_of_its_turn_under_a_new_id_too(store):
    first, late = open_two(store, cart=[], n=1)
    for number in range(2):
        late["cart"].append(f"late {number}")
        first["cart"].append(f"first {number}")
        first.save()
        if number:
            late.login("ann")
        late.save()
        first.reload() if not number else None
    assert store.acquire(SessionID(late.id).id_hash, "another", timedelta(seconds=1))


def test_a_merge_keeps_to_max_bytes(store):
    manager = SessionManager(store, merges={"cart": merge.extend}, max_bytes=60)
    session = manager.open()
    session["cart"] = []
    session.save()
    mine, theirs = manager.open(session.id), manager.open(session.id)
    mine["cart"].append("m" * 30)
    theirs["cart"].append("t" * 30)
    theirs.save()
    with pytest.raises(SessionTooLarge):
        mine.save()


def test_a_session_deleted_while_it_is_merged_stays_deleted(store):
    from wsgisessions import SessionInterrupted

    def log_out(session):
        session["k"] = 5
        session.save()
        session.flush()

    with pytest.raises(SessionInterrupted):
        race(store, put(2), log_out, start=1, merges={"k": merge.add})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_conflict": "first-wins"}, '"last-wins" or "refuse"'),
        ({"merges": {"k": "add"}}, r"function of \(base, mine, theirs\)"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": "1k"}, "max_bytes"),
        ({"expiry": 1800}, r"expiry is OnInactivity\(timedelta.*got int"),
        ({"codec": JSONCodec}, r"such as JSONCodec\(\); got the class JSONCodec itself"),
        ({"codec": json}, "got module"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(store, options, message):
    with pytest.raises(ConfigurationError, match=message):
        SessionManager(store, **options)


@pytest.mark.parametrize(("store", "got"), [("sqlite:///x.db", "str"), (MemoryStore, "the class MemoryStore itself")])
def test_a_store_that_is_none_is_refused_at_once(store, got):
    with pytest.raises(ConfigurationError, match=rf"open_store\(url\); got {got}"):
        SessionManager(store)


def test_the_app_comes_before_the_store():
    with pytest.raises(ConfigurationError, match="takes the app, then the store; got MemoryStore as the app"):
        SessionMiddleware(MemoryStore(), MemoryStore())
