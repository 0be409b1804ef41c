"""Rules for two changes of one key, declared per key: `merges={"cart": merge.extend}`.

A rule is any function of `(base, mine, theirs)` that returns the merged value: `base` is what this
request read, `mine` what it made of it, `theirs` what another request has stored meanwhile. An
absent key is None, and returning None removes the key. A rule that cannot merge raises ValueError,
which the visitor sees as 409.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = Callable[[Any, Any, Any], Any]


def extend(base: list[Any] | None, mine: list[Any] | None, theirs: list[Any] | None) -> list[Any]:
    """Keep what both appended to a list; theirs comes first.

    :raises ValueError: one side did more than append.
    """
    base, theirs = base or [], theirs or []
    if mine is None:
        return _appended(base, theirs, "the other request")
    return theirs + _appended(base, mine, "this request")


def members(
    base: dict[str, Any] | None,
    mine: dict[str, Any] | None,
    theirs: dict[str, Any] | None,
) -> dict[str, Any]:
    """Merge dicts member by member.

    :raises ValueError: both changed the same member, to different values.
    """
    base, mine, theirs = base or {}, mine or {}, theirs or {}
    absent = object()
    merged = dict(theirs)
    for name in base.keys() | mine.keys():
        before, here, there = (side.get(name, absent) for side in (base, mine, theirs))
        if here == before:
            continue
        if there not in (before, here):
            raise ValueError(f"both requests changed the member {name!r}")
        if here is absent:
            merged.pop(name, None)
        else:
            merged[name] = here
    return merged


def add(base: Any, mine: Any, theirs: Any) -> Any:
    """Sum two changes of a number by their differences from what was read; absent is 0."""
    return (theirs or 0) + ((mine or 0) - (base or 0))


def union(base: set[Any] | None, mine: set[Any] | None, theirs: set[Any] | None) -> set[Any]:
    """Keep what either added to a set, and drop what either removed."""
    base, mine, theirs = base or set(), mine or set(), theirs or set()
    return (theirs | (mine - base)) - (base - mine)


def _appended(base: list[Any], grown: list[Any], who: str) -> list[Any]:
    if grown[: len(base)] != base:
        raise ValueError(f"{who} did more to the list than append")
    return grown[len(base) :]
