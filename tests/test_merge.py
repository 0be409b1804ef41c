"""The rules for two changes of one key: each returns theirs, then this request's net change."""

from collections import Counter
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from wsgisessions import ConfigurationError, MemoryStore, SessionConflict, SessionManager, merge
from wsgisessions.flask import Sessions

numbers = st.integers(-5, 5)
names = st.sampled_from("abc")
carts = st.dictionaries(names, st.integers(1, 9))
# What a request does to a cart: adds to a quantity, or takes the item out.
steps = st.lists(st.tuples(names, st.none() | st.integers(1, 3)), max_size=4)


def take(cart, steps):
    """Return a cart after steps."""
    cart = dict(cart)
    for name, change in steps:
        if change is None:
            cart.pop(name, None)
        else:
            cart[name] = cart.get(name, 0) + change
    return cart


@given(numbers, st.lists(numbers), st.lists(numbers))
def test_add_is_theirs_and_then_the_steps_of_this_request(base, mine, theirs):
    assert merge.add(base, base + sum(mine), base + sum(theirs)) == base + sum(theirs) + sum(mine)


@given(st.none() | numbers, st.none() | numbers, st.none() | numbers)
def test_for_add_an_absent_number_is_0(base, mine, theirs):
    assert merge.add(base, mine, theirs) == (theirs or 0) + (mine or 0) - (base or 0)


@given(st.lists(numbers), st.lists(numbers), st.lists(numbers))
def test_extend_is_theirs_and_then_what_this_request_appended(base, mine, theirs):
    assert merge.extend(base, base + mine, base + theirs) == base + theirs + mine


@given(st.lists(numbers, min_size=1), st.lists(numbers))
def test_extend_keeps_what_the_other_appended_to_a_list_that_this_request_removed(base, theirs):
    assert merge.extend(base, None, base + theirs) == theirs


set_steps = st.lists(st.tuples(st.sampled_from(["add", "discard"]), numbers))


def take_set(members, steps):
    members = set(members)
    for name, member in steps:
        getattr(members, name)(member)
    return members


@given(st.sets(numbers), set_steps, set_steps)
def test_union_is_theirs_and_then_the_net_change_of_this_request(base, mine, theirs):
    here, there = take_set(base, mine), take_set(base, theirs)
    assert merge.union(base, here, there) == (there | (here - base)) - (base - here)
    # Where no step is a detour, that is what the steps would have made of theirs.
    members = [member for _, member in mine]
    if len(members) == len(set(members)) and all((name == "add") != (member in base) for name, member in mine):
        assert merge.union(base, here, there) == take_set(there, mine)


@given(carts, steps, steps)
def test_members_is_theirs_and_then_the_members_that_this_request_changed(base, mine, theirs):
    here, there = take(base, mine), take(base, theirs)
    changed = {name for name in "abc" if here.get(name) != base.get(name)}
    changed_there = {name for name in "abc" if there.get(name) != base.get(name)}
    if changed & changed_there:
        with pytest.raises(ValueError, match="both requests changed the member"):
            merge.members(base, here, there)
    else:
        wanted = {name: (here if name in changed else there).get(name) for name in "abc"}
        assert merge.members(base, here, there) == {name: n for name, n in wanted.items() if n is not None}


@given(carts, steps, steps)
def test_each_is_theirs_and_then_each_members_net_change_by_the_rule(base, mine, theirs):
    here, there = take(base, mine), take(base, theirs)
    wanted, conflicts = {}, False
    for name in "abc":
        before, ours, others = base.get(name), here.get(name), there.get(name)
        if ours == before:
            wanted[name] = others
        elif others == before:
            wanted[name] = ours
        elif ours is None and others is None:
            wanted[name] = None
        elif ours is None or others is None:
            conflicts = True
        else:
            wanted[name] = others + ours - (before or 0)
    if conflicts:
        with pytest.raises(ValueError, match="one request removed the member"):
            merge.each(merge.add)(base, here, there)
    else:
        kept = {name: n for name, n in wanted.items() if n is not None}
        assert merge.each(merge.add)(base, here, there) == kept


def test_each_nests():
    rule = merge.each(merge.each(merge.add))
    base = {"tea shop": {"tea": 1, "pot": 1}, "book shop": {"atlas": 1}}
    mine = {"tea shop": {"tea": 3, "pot": 1, "cup": 1}, "book shop": {"atlas": 1}}
    theirs = {"tea shop": {"tea": 2}, "book shop": {"atlas": 1, "map": 1}}
    merged = {"tea shop": {"tea": 4, "cup": 1}, "book shop": {"atlas": 1, "map": 1}}
    assert rule(base, mine, theirs) == merged


def test_each_does_not_bring_a_removed_item_back():
    rule = merge.each(merge.add)
    with pytest.raises(ValueError, match="removed the member 'tea'"):
        rule({"tea": 2}, {}, {"tea": 3})
    with pytest.raises(ValueError, match="removed the member 'tea'"):
        rule({"tea": 2}, {"tea": 3}, {})
    assert rule({"tea": 2, "pot": 1}, {"pot": 1}, {"pot": 2}) == {"pot": 2}


def test_a_member_that_each_finds_added_by_both_goes_by_the_rule():
    assert merge.each(merge.add)({}, {"tea": 1}, {"tea": 2}) == {"tea": 3}
    assert merge.each(merge.extend)(None, {"log": ["m"]}, {"log": ["t"]}) == {"log": ["t", "m"]}


def test_a_member_for_which_the_rule_says_none_is_removed():
    rule = merge.each(lambda base, mine, theirs: None)
    assert rule({"tea": 1}, {"tea": 2}, {"tea": 3, "pot": 1}) == {"pot": 1}


@pytest.mark.parametrize("rule", [merge.members, merge.each(merge.add)])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        (Decimal(1), Decimal("1.0")),
        (
            datetime(2030, 1, 1, 12, tzinfo=timezone.utc),
            datetime(2030, 1, 1, 13, tzinfo=timezone(timedelta(hours=1))),
        ),
        ([1], [True]),
        ((1,), (True,)),
        ({"x": 1}, {"x": True}),
        ({1: "x"}, {True: "x"}),
        ({1}, {True}),
        ({Decimal(1)}, {Decimal("1.0")}),
        (frozenset({(1,)}), frozenset({(True,)})),
    ],
)
def test_a_change_that_python_calls_equal_is_one(rule, before, after):
    merged = rule({"m": before}, {"m": after}, {"m": before, "other": 1})
    assert repr(merged["m"]) == repr(after)


def test_for_extend_too():
    with pytest.raises(ValueError, match="this request did more to the list than append"):
        merge.extend([1], [True, 2], [1, 3])


def test_frozensets_have_a_union_too():
    assert merge.union(frozenset("ab"), frozenset("bc"), frozenset("abd")) == frozenset("bcd")
    assert merge.union(None, frozenset("a"), frozenset("b")) == frozenset("ab")


def test_durations_have_a_sum():
    assert merge.add(timedelta(1), timedelta(3), timedelta(0)) == timedelta(2)


@pytest.mark.parametrize(
    ("rule", "sides"),
    [
        (merge.extend, ([1], {"a": 1}, [1, 2])),
        (merge.extend, ([1], None, "text")),
        (merge.members, ({}, [1], {"a": 1})),
        (merge.each(merge.add), ({}, {"a": 1}, 7)),
        (merge.add, (1, "2", 3)),
        (merge.add, ("", "", 5)),
        (merge.add, (Decimal("Infinity"), Decimal("Infinity"), Decimal(1))),
        (merge.add, (datetime(2030, 1, 1), datetime(9999, 1, 1), datetime(9999, 1, 1))),
        (merge.union, (set(), [1], {1})),
    ],
)
def test_a_value_that_is_not_of_the_rules_kind_is_a_conflict(rule, sides):
    with pytest.raises(ValueError, match="for"):
        rule(*sides)


def race(mine, theirs, **options):
    """Let another request save a change while this one is making its own; return what is stored then."""
    manager = SessionManager(MemoryStore(), **options)
    session = manager.open()
    session["k"] = {"tea": 2}
    session["pad"] = 1
    session.save()
    first, second = manager.open(session.id), manager.open(session.id)
    mine(first)
    theirs(second)
    second.save()
    first.save()
    return manager.open(session.id)


@pytest.mark.parametrize("rule", [merge.members, merge.each(merge.add), lambda base, mine, theirs: 1 / 0])
def test_a_key_that_both_removed_stays_removed(rule):
    assert "k" not in race(lambda one: one.pop("k"), lambda one: one.pop("k"), merges={"k": rule})


def test_under_refuse_that_is_refused():
    with pytest.raises(SessionConflict):
        race(lambda one: one.pop("k"), lambda one: one.pop("k"), on_conflict="refuse")


def test_a_cart_of_quantities():
    def put(name, count):
        return lambda session: session.update(k=dict(Counter(session["k"]) + Counter({name: count})))

    session = race(put("tea", 1), put("tea", 3), merges={"k": merge.each(merge.add)})
    assert session["k"] == {"tea": 6}


@pytest.mark.parametrize("rule", [merge.each, lambda mine, theirs: mine, "add", None])
def test_what_is_no_rule_is_refused_when_the_object_is_made(rule):
    with pytest.raises(ConfigurationError, match=r"merges\['k'\] is a function of \(base, mine, theirs\)"):
        SessionManager(MemoryStore(), merges={"k": rule})


@pytest.mark.parametrize("rule", [{}, lambda mine, theirs: mine, merge.each])
def test_each_takes_a_rule(rule):
    with pytest.raises(TypeError, match=r"such as merge\.each\(merge\.add\); got a (dict|function)"):
        merge.each(rule)


def test_a_list_of_rules_is_refused_when_the_object_is_made():
    for make in (SessionManager, partial(Sessions, Flask(__name__))):
        with pytest.raises(ConfigurationError, match="merges has a rule for each key"):
            make(MemoryStore(), merges=[merge.add])


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="there is no option 'encryption'"):
        SessionManager(MemoryStore(), encryption="x")
