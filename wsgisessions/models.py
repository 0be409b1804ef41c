"""Dataclasses, attrs classes, msgspec Structs and pydantic models: what is stored of one, and reading as a type.

Reading converts hardly anything: a str becomes nothing but an Enum's member, for what a visitor typed must never
turn into Markup. docs/sessions.md lists the conversions. Neither attrs nor pydantic is imported, unless a class is
one of theirs.
"""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from typing import Any, get_origin

import msgspec
from markupsafe import Markup

from .errors import DecodeError
from .pydantic_models import is_pydantic, validated
from .refusals import Unkept, failed
from .tags import DUMPERS

_KEPT_AS_THEY_ARE = (*(kind for kind in DUMPERS if kind is not Markup), bytearray)
"""What msgspec would make of a str, unless it is told that these come as what they are."""

_path_at_the_end = re.compile(r" - at `\$[^`]*`$").search


def is_model(kind: type) -> bool:
    """Tell whether a class is one of the four kinds."""
    return is_pydantic(kind) or any(
        hasattr(kind, each) for each in ("__struct_fields__", "__attrs_attrs__", "__dataclass_fields__")
    )


def members_of(value: Any) -> Any:
    """Return the fields of a model with their values, as a dict, or as its kind stores them.

    :raises Unkept: the model's own code raised.
    """
    try:
        if is_pydantic(type(value)):
            # Its warnings would quote values.
            return value.model_dump(round_trip=True, warnings=False)
        if isinstance(value, msgspec.Struct):
            return _members_of_struct(value)
        names = (
            [field.name for field in type(value).__attrs_attrs__]
            if hasattr(type(value), "__attrs_attrs__")
            else [field.name for field in dataclasses.fields(value)]
        )
        return {name: getattr(value, name) for name in names}
    except RecursionError:
        raise
    except Exception as error:
        raise Unkept(failed(type(value), "fields", error)) from None


def _members_of_struct(value: msgspec.Struct) -> Any:
    config = value.__struct_config__
    items = [getattr(value, name) for name in value.__struct_fields__]
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    members = {
        name: item
        for name, item in zip(value.__struct_encode_fields__, items, strict=True)
        if item is not msgspec.UNSET
    }
    return members if config.tag is None else {config.tag_field: config.tag, **members}


def read_as(value: Any, kind: Any) -> Any:
    """Return a decoded value as a type, strictly.

    :raises DecodeError: it does not fit.
    :raises TypeError: no value can be read as this type.
    """
    _require_readable(kind)
    try:
        return msgspec.convert(value, kind, builtin_types=_KEPT_AS_THEY_ARE, dec_hook=_as_instance)
    except msgspec.ValidationError as error:
        # It may quote what is stored; msgspec's ends with the path to it, which does not.
        path = _path_at_the_end(str(error))
        raise DecodeError(f"the stored value is no {_name_of(kind)}{path[0] if path else ''}") from None
    except RecursionError:
        raise
    except Exception as error:
        # The class's own code, such as an attrs validator.
        raise DecodeError(
            f"the stored value is no {_name_of(kind)}, whose code raised {type(error).__name__}"
        ) from None


def _as_instance(kind: type, value: Any) -> Any:
    """Return a value of a class that msgspec does not know: a pydantic model, Markup, a type of the app's."""
    if is_pydantic(kind):
        return validated(kind, value)
    if isinstance(value, get_origin(kind) or kind):
        return value
    raise ValueError  # msgspec adds the path


@lru_cache(maxsize=256)
def _require_readable(kind: Any) -> None:
    try:
        _refuse_unchecked_keys(msgspec.inspect.type_info(kind), set())
    except TypeError as error:
        raise TypeError(f"a session cannot be read as {_name_of(kind)}: {error}") from None


def _refuse_unchecked_keys(part: Any, seen: set[int]) -> None:
    """Refuse dicts whose keys are of a class that msgspec does not know: it lets any str pass for one."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, msgspec.inspect.DictType) and isinstance(part.key_type, msgspec.inspect.CustomType):
        raise TypeError(f"the keys of a dict cannot be read as {part.key_type.cls.__name__}; read them as str")
    for name in part.__struct_fields__:
        inner = getattr(part, name)
        for each in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(each, (msgspec.inspect.Type, msgspec.inspect.Field)):
                _refuse_unchecked_keys(each, seen)


def _name_of(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
