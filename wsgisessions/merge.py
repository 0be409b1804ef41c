"""Rules for two changes of one key, declared per key: `merges={"cart": merge.extend}`.

A rule is any function of `(base, mine, theirs)` that returns the merged value: `base` is what this
request read, `mine` what it made of it, `theirs` what another request has stored meanwhile. An
absent key is None, and returning None removes the key. A rule that cannot merge raises ValueError,
which the visitor sees as 409. A key that both have removed stays removed; no rule is asked.

The rules here return theirs, then this request's net change.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import datetime, time
from decimal import Decimal
from inspect import signature
from typing import Any, TypeVar, cast

Rule = Callable[[Any, Any, Any], Any]
AnySet = AbstractSet[Any]
C = TypeVar("C")

_ABSENT = object()
_EQUAL_BUT_NOT_THE_SAME = (float, Decimal, datetime, time)
"""0.0 and -0.0, Decimal("1") and Decimal("1.0"), one instant in two time zones: their texts differ."""


def extend(base: list[Any] | None, mine: list[Any] | None, theirs: list[Any] | None) -> list[Any]:
    """Keep what both appended to a list; theirs comes first.

    :raises ValueError: one side did more than append, or is no list.
    """
    base, theirs = _or_empty(list, base), _or_empty(list, theirs)
    if mine is None:
        return _appended(base, theirs, "the other request")
    return theirs + _appended(base, _or_empty(list, mine), "this request")


def members(
    base: dict[Any, Any] | None,
    mine: dict[Any, Any] | None,
    theirs: dict[Any, Any] | None,
) -> dict[Any, Any]:
    """Merge dicts member by member.

    :raises ValueError: both changed the same member, if only to the same value: two equal steps of a count are
        two steps. Or a side is no dict.
    """
    return _merge_members(base, mine, theirs, _refuse)


def each(rule: Rule) -> Rule:
    """Return a rule for dicts: a member that both changed goes by `rule`, any other change stands.

    `merge.each(merge.add)` is a cart of quantities, and `merge.each(merge.each(merge.add))` one for each shop. For a
    member that both added, the rule's `base` is None; a member for which it returns None is removed. A member that
    both have removed stays removed; one that only one of them has removed while the other changed it is a conflict:
    `add` alone would bring it back as a number below what it was.

    :raises TypeError: `rule` cannot be called with three arguments.
    """
    if not is_rule(rule):
        raise TypeError(
            "merge.each takes a rule, a function of (base, mine, theirs), such as merge.each(merge.add);"
            f" got a {type(rule).__name__}"
        )

    def decide(name: Any, before: Any, here: Any, there: Any) -> Any:
        if here is _ABSENT and there is _ABSENT:
            return None
        if here is _ABSENT or there is _ABSENT:
            raise ValueError(f"one request removed the member {name!r}, which the other changed")
        return rule(None if before is _ABSENT else before, here, there)

    def merge_each(base: Any, mine: Any, theirs: Any) -> dict[Any, Any]:
        return _merge_members(base, mine, theirs, decide)

    return merge_each


def add(base: Any, mine: Any, theirs: Any) -> Any:
    """Sum two changes of a number by their differences from what was read; absent is 0.

    :raises ValueError: a side is no number.
    """
    base, mine, theirs = (0 if side is None else side for side in (base, mine, theirs))
    try:
        return theirs + (mine - base)
    except (TypeError, ArithmeticError) as error:
        raise ValueError("merge.add is for numbers that have a sum and a difference") from error


def union(base: AnySet | None, mine: AnySet | None, theirs: AnySet | None) -> AnySet:
    """Keep what either added to a set, and drop what either removed.

    What this request discarded and added again, it did not change: there theirs stands.

    :raises ValueError: a side is no set.
    """
    base, mine, theirs = (_or_empty(set, side, frozenset) for side in (base, mine, theirs))
    return (theirs | (mine - base)) - (base - mine)


def is_rule(rule: Any) -> bool:
    """Tell whether something can be called with three arguments."""
    try:
        signature(rule).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # a function written in C that does not say what it takes
        return True
    return True


def _merge_members(
    base: dict[Any, Any] | None,
    mine: dict[Any, Any] | None,
    theirs: dict[Any, Any] | None,
    decide: Callable[[Any, Any, Any, Any], Any],
) -> dict[Any, Any]:
    base, mine, theirs = _or_empty(dict, base), _or_empty(dict, mine), _or_empty(dict, theirs)
    merged = dict(theirs)
    for name in dict.fromkeys((*base, *mine)):
        before, here, there = (side.get(name, _ABSENT) for side in (base, mine, theirs))
        if _is_same(here, before):
            continue
        if not _is_same(there, before):
            here = decide(name, before, here, there)
            if here is None:
                here = _ABSENT
        if here is _ABSENT:
            merged.pop(name, None)
        else:
            merged[name] = here
    return merged


def _refuse(name: Any, before: Any, here: Any, there: Any) -> Any:
    raise ValueError(f"both requests changed the member {name!r}")


def _appended(base: list[Any], grown: list[Any], who: str) -> list[Any]:
    if not _is_same(grown[: len(base)], base):
        raise ValueError(f"{who} did more to the list than append")
    return grown[len(base) :]


def _or_empty(kind: type[C], side: Any, *others: type) -> C:
    if side is None:
        return kind()
    if not isinstance(side, (kind, *others)):
        raise ValueError(f"the rule is for a {kind.__name__}; one of the values is a {type(side).__name__}")
    return cast("C", side)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two values have one text; Python takes 1, 1.0 and True for equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return _is_same(list(one), list(other)) and all(_is_same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, set | frozenset):
        twins = {each: each for each in other}
        return len(one) == len(other) and all(each in twins and _is_same(each, twins[each]) for each in one)
    if isinstance(one, _EQUAL_BUT_NOT_THE_SAME):
        return repr(one) == repr(other)
    return bool(one == other)
