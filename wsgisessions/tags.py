"""The stored format: the tags under which types travel that JSON lacks. docs/stores.md has the table.

A tag is an object with one member whose name starts with `$`, such as `{"$date": "2030-01-01"}`. A dict of
the app's that looks like one is wrapped in `{"$dict": …}`, so no data can pass for another type.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from markupsafe import Markup

MOST_LEVELS = 100
"""How deep lists, dicts and their kin may be nested."""

AS_THEY_ARE = frozenset((type(None), bool, int, str))
"""The types that JSON has, and that need no look inside."""


def tag_of(kind: type) -> str:
    """Return the tag of a type that is kept under its own name."""
    return f"${kind.__name__}"


def _load_bytes(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError  # bits that say nothing are not as this codec writes them
    return data


# Pendulum's durations have other ones under these names.
_PARTS_OF_TIMEDELTA = (timedelta.days.__get__, timedelta.seconds.__get__, timedelta.microseconds.__get__)

# Each is the base class's own function, whatever a subclass has under its name.
DUMPERS: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [part(value) for part in _PARTS_OF_TIMEDELTA],
    UUID: UUID.__str__,
    Decimal: Decimal.__str__,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
    Markup: str.__str__,
}
"""What is stored of each type that cannot change in place."""

LOADERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$UUID": UUID,
    "$Decimal": Decimal,
    "$bytes": _load_bytes,
    "$Markup": Markup,
    "$float": float,
}
"""How the content of each tag becomes a value, where the content needs no look inside."""

CONTAINER_TAGS = frozenset(("$tuple", "$set", "$frozenset", "$dict", "$items"))

IMMUTABLE_TYPES = frozenset((*AS_THEY_ARE, float, *DUMPERS))

COPIES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    list: list,
    # In the order that it shows, for OrderedDict has one of its own; the values as they are, for MultiDict shows the
    # first of each list only.
    dict: lambda value: {key: dict.__getitem__(value, key) for key in value},
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    **DUMPERS,
}
"""How a value of a subclass becomes one of its base; for the types of `DUMPERS`, what is stored of it.

A dict that does not keep its items itself, such as CombinedMultiDict, raises KeyError."""
