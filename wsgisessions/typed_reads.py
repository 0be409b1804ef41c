"""Reading a stored value as a type. Hardly anything is converted; docs/sessions.md lists what is.

A str becomes nothing but an Enum's member: what a visitor typed must never turn into Markup. A pydantic model
converts by its own rules, which know no Markup.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, get_origin

import msgspec
from markupsafe import Markup

from .errors import DecodeError
from .models import is_pydantic
from .tags import DUMPERS

_KEPT_AS_THEY_ARE = (*(kind for kind in DUMPERS if kind is not Markup), bytearray)
"""What msgspec would make of a str, unless it is told that these come as what they are."""

_path_at_the_end = re.compile(r" - at `\$(\.\w+|\[\d+\]|\[\.\.\.\])*`$").search


def read_as(value: Any, kind: Any) -> Any:
    """Return a decoded value as a type, strictly.

    :raises DecodeError: it does not fit.
    :raises TypeError: no value can be read as this type.
    """
    _require_readable(kind)
    try:
        return _converted(value, kind)
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


def _converted(value: Any, kind: Any) -> Any:
    return msgspec.convert(value, kind, builtin_types=_KEPT_AS_THEY_ARE, dec_hook=_as_instance)


def _as_instance(kind: Any, value: Any) -> Any:
    """Return a value of a class that msgspec does not know: a pydantic model, Markup, a type of the app's."""
    if is_pydantic(kind):
        return kind.model_validate(value, by_name=True, by_alias=True)
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
