"""Reading a stored value as a type. Few things are converted; docs/sessions.md lists them.

A str becomes nothing but an Enum's member: what a visitor typed must never turn into Markup. A pydantic model
converts by its own rules, which know no Markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, get_origin

import msgspec
from markupsafe import Markup

from .errors import DecodeError
from .models import is_pydantic
from .tags import DUMPERS

_KEPT_AS_THEY_ARE = (*(kind for kind in DUMPERS if kind is not Markup), bytearray, memoryview)
"""What msgspec would make of a str, unless it is told that these come as what they are."""

_path_at_the_end = re.compile(r" - at `\$(\.\w+|\[\d+\]|\[\.\.\.\])*`$").search


def read_as(value: Any, kind: Any) -> Any:
    """Return a decoded value as a type, strictly.

    ValueError and TypeError of the class's own code say that the value does not fit; its other errors pass.

    :raises DecodeError: it does not fit.
    :raises TypeError: no value can be read as this type.
    """
    try:
        hash(kind)
    except TypeError:
        _refuse_unreadable(kind)
    else:
        _refuse_unreadable_once(kind)
    try:
        return msgspec.convert(value, kind, builtin_types=_KEPT_AS_THEY_ARE, dec_hook=_as_instance)
    except msgspec.ValidationError as error:
        # It may quote what is stored; msgspec's ends with the path to it, which does not.
        path = _path_at_the_end(str(error))
    raise DecodeError(f"the stored value is no {_name_of(kind)}{path[0] if path else ''}")


def _as_instance(kind: Any, value: Any) -> Any:
    """Return a value of a class that msgspec does not know: a pydantic model, Markup, a type of the app's."""
    if is_pydantic(kind):
        return kind.model_validate(value, by_name=True, by_alias=True)
    if isinstance(value, get_origin(kind) or kind):
        return value
    raise ValueError  # msgspec adds the path


def _refuse_unreadable(kind: Any) -> None:
    """Refuse a type that msgspec cannot read, or would read without a look at all of it.

    :raises TypeError: it is such a type.
    """
    try:
        _look_into(msgspec.inspect.type_info(kind), set())
    except TypeError as error:
        raise TypeError(f"a session cannot be read as {_name_of(kind)}: {error}") from None


_refuse_unreadable_once = lru_cache(maxsize=256)(_refuse_unreadable)


def _look_into(part: Any, seen: set[int]) -> None:
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, msgspec.inspect.DictType):
        _refuse_unchecked_key(part.key_type)
    if isinstance(part, msgspec.inspect.DataclassType) and hasattr(part.cls, "__pydantic_validator__"):
        raise TypeError(f"{part.cls.__name__} is a dataclass of pydantic's; make it a BaseModel, or a plain dataclass")
    for inner in _inside(part):
        _look_into(inner, seen)


def _refuse_unchecked_key(key: Any) -> None:
    """Refuse keys of a class that msgspec does not know: it lets any str pass for one."""
    if isinstance(key, msgspec.inspect.CustomType):
        raise TypeError(f"the keys of a dict cannot be read as {_name_of(key.cls)}; write Any for their type")
    if isinstance(key, (msgspec.inspect.UnionType, msgspec.inspect.Metadata)):
        for inner in _inside(key):
            _refuse_unchecked_key(inner)


def _inside(part: Any) -> Iterator[Any]:
    for name in part.__struct_fields__:
        inner = getattr(part, name)
        for each in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(each, (msgspec.inspect.Type, msgspec.inspect.Field)):
                yield each


def _name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
