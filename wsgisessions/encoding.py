"""From the app's values to JSON's types. docs/sessions.md has the rules as a table, in their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from enum import Enum
from itertools import chain
from numbers import Integral, Rational, Real
from typing import Any

import msgspec

from . import refusals
from .custom_types import CustomTypes
from .errors import DecodeError
from .lazy_strings import is_lazy, render
from .models import is_model, members_of
from .refusals import Unkept, step_to
from .surrogates import has_lone_surrogate
from .tags import AS_THEY_ARE, COPIES, DUMPERS, MOST_LEVELS, tag_of

Restore = Callable[[Any], Any]

dump = msgspec.json.Encoder().encode

_KEPT_AS_EQUALS = frozenset((*AS_THEY_ARE, float, bytes))
"""Types of which two unequal values never come back as equal ones. Of two points in time PEP 495 makes such a pair."""

_TIMES = (datetime, date, time, timedelta)
_ZONED = (datetime, time)


class Encoder:
    """Makes JSON's types of a value, each part by the first rule that fits.

    Their exact type; the app's types; what renders itself; a subclass as its base; a number of another library;
    an Enum's member as its value. With `models`, a dataclass and its kin as a dict of its fields.
    """

    def __init__(self, types: CustomTypes, restore: Restore, *, allow_nan: bool, models: bool) -> None:
        self._types = types
        self._restore = restore
        self._allow_nan = allow_nan
        self._models = models

    def checking(self) -> CheckingEncoder:
        """Return one that finds the text or number that JSON's writer has refused."""
        return CheckingEncoder(self._types, self._restore, allow_nan=self._allow_nan, models=self._models)

    def to_json(self, value: Any, level: int = 0) -> Any:
        """Return a value as JSON's types.

        :param level: how many containers it is in.
        :raises Unkept: it, or a value inside it, cannot be kept.
        """
        kind = type(value)
        if kind in AS_THEY_ARE:
            return value
        if kind is float:
            return value if math.isfinite(value) else self._non_finite(value)
        if kind is list:
            return self._list(value, level)
        if kind is dict:
            return self._dict(value, level)
        if kind is tuple:
            return {"$tuple": self._list(value, level)}
        if kind is set or kind is frozenset:
            return {tag_of(kind): self._set(value, level)}
        if kind in DUMPERS:
            if kind in _ZONED and value.tzinfo is not None:
                _require_offset(value)
            return {tag_of(kind): DUMPERS[kind](value)}
        return self._converted(value, kind, level)

    def _converted(self, value: Any, kind: type, level: int) -> Any:
        try:
            return self._by_rule(value, kind, level)
        except (Unkept, RecursionError):
            raise
        except Exception as error:
            raise Unkept(refusals.failed(kind, "own code", error)) from None

    def _by_rule(self, value: Any, kind: type, level: int) -> Any:
        custom = self._types.of(kind)
        if custom is not None:
            if level >= MOST_LEVELS:
                raise Unkept(refusals.TOO_DEEP)
            return {custom.tag: self.to_json(custom.dump(value), level + 1)}
        if self._models and is_model(kind):
            return self.to_json(members_of(value), level)
        if is_lazy(kind):
            return self.to_json(render(value), level)
        base = next((each for each in kind.__mro__ if each in COPIES), None)
        if base is not None:
            return self._as_base(value, base, level)
        if issubclass(kind, Integral):
            return self.to_json(int(value), level)
        if issubclass(kind, Real) and not issubclass(kind, Rational):
            return self.to_json(float(value), level)
        if issubclass(kind, Enum):
            return self.to_json(value.value, level)
        raise Unkept(refusals.of_type(kind, is_bucket_member=self._models))

    def _as_base(self, value: Any, base: type, level: int) -> Any:
        if base in _TIMES and value != value:  # pandas' NaT, of which datetime's own functions say the year 1
            raise Unkept(refusals.NOT_A_TIME)
        if base in _ZONED and value.tzinfo is not None:
            _require_offset(value)
        try:
            content = COPIES[base](value)
        except KeyError:
            raise Unkept(refusals.keeps_items_elsewhere(type(value))) from None
        return {tag_of(base): content} if base in DUMPERS else self.to_json(content, level)

    def _list(self, value: Iterable[Any], level: int) -> list[Any]:
        if level >= MOST_LEVELS:
            raise Unkept(refusals.TOO_DEEP)
        items: list[Any] = []
        try:
            for item in value:
                items.append(self.to_json(item, level + 1))  # noqa: PERF401 -- its length tells where a refusal came from
        except Unkept as refusal:
            raise refusal.at(f"[{len(items)}]") from None
        return items

    def _dict(self, value: dict[Any, Any], level: int) -> dict[str, Any]:
        if level >= MOST_LEVELS:
            raise Unkept(refusals.TOO_DEEP)
        members: dict[str, Any] = {}
        items = iter(value.items())
        name: Any = None
        try:
            for name, item in items:
                if type(name) is not str:
                    break
                members[name] = self.to_json(item, level + 1)
            else:
                return _escaped(members)
        except Unkept as refusal:
            raise refusal.at(step_to(name)) from None
        return self._pairs(members, chain([(name, item)], items), level)

    def _pairs(self, members: dict[str, Any], rest: Iterator[tuple[Any, Any]], level: int) -> dict[str, Any]:
        """Return a dict that has other keys than str, after the members that came before the first of these."""
        pairs = [[name, item] for name, item in members.items()]
        key: Any = None
        try:
            for key, item in rest:
                pairs.append([self.to_json(key, level + 1), self.to_json(item, level + 1)])
        except Unkept as refusal:
            raise refusal.at(step_to(key)) from None
        self._require_distinct([name for name, _ in pairs], refusals.KEYS_BECOME_ONE)
        if all(type(name) is str for name, _ in pairs):
            return _escaped(dict(pairs))
        return {"$items": pairs}

    def _set(self, value: set[Any] | frozenset[Any], level: int) -> list[Any]:
        if level >= MOST_LEVELS:
            raise Unkept(refusals.TOO_DEEP)
        try:
            members = [self.to_json(member, level + 1) for member in value]
        except Unkept as refusal:
            raise refusal.at("{…}") from None
        if not _KEPT_AS_EQUALS.issuperset(map(type, value)):
            self._require_distinct(members, refusals.MEMBERS_BECOME_ONE)
        # A set has no order of its own; without one, an untouched set would read as changed.
        return sorted(members, key=dump)

    def _require_distinct(self, members: list[Any], reason: str) -> None:
        try:
            come_back = {self._restore(member) for member in members}
        except TypeError:
            raise Unkept(refusals.COMES_BACK_UNHASHABLE) from None
        except DecodeError as error:
            raise Unkept(f"holds a key or member that would not come back: {error}") from None
        if len(come_back) != len(members):
            raise Unkept(reason)

    def _non_finite(self, value: float) -> dict[str, str]:
        if self._allow_nan:
            return {"$float": repr(value)}
        raise Unkept(refusals.not_finite(value))


def _require_offset(value: Any) -> None:
    """Refuse a time whose zone has no offset without a date: it would come back without its zone."""
    if value.utcoffset() is None:
        raise Unkept(refusals.NO_OFFSET)


class CheckingEncoder(Encoder):
    """Finds the text or number that JSON's writer refuses, which does not say where it is."""

    def to_json(self, value: Any, level: int = 0) -> Any:
        """Return a value as JSON's types, after a look at each text and number."""
        if isinstance(value, str) and has_lone_surrogate(value):
            raise Unkept(refusals.LONE_SURROGATE)
        if isinstance(value, int):
            _require_writable(value)
        if isinstance(value, dict) and any(type(name) is str and has_lone_surrogate(name) for name in value):
            raise Unkept(refusals.LONE_SURROGATE_IN_KEY)
        return super().to_json(value, level)


def _require_writable(number: int) -> None:
    try:
        dump(number)
    except ValueError:
        raise Unkept(refusals.TOO_LONG_AN_INT) from None


def _escaped(members: dict[str, Any]) -> dict[str, Any]:
    """Wrap what looks like a tag, so that it comes back as the dict it is."""
    if len(members) == 1 and next(iter(members)).startswith("$"):
        return {"$dict": members}
    return members
