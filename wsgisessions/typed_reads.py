"""Reading a stored value as a type. Hardly anything is converted; docs/sessions.md lists what is.

A str becomes nothing but an Enum's member: what a visitor typed must never turn into Markup.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from enum import Enum
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from markupsafe import Markup

from .errors import DecodeError
from .models import is_model, is_pydantic
from .tags import DUMPERS

_KEPT_AS_THEY_ARE = (*(kind for kind in DUMPERS if kind is not Markup), bytearray)
"""What msgspec would make of a str, unless it is told that these come as what they are."""

_SEQUENCES = (list, set, frozenset, tuple)

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
        return _validated(value, kind)
    if isinstance(value, get_origin(kind) or kind):
        return value
    raise ValueError  # msgspec adds the path


# --- types that msgspec cannot check


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


# --- pydantic


def _validated(value: Any, kind: Any) -> Any:
    """Return a decoded value as a pydantic model, by its own rules in strict mode."""
    if isinstance(value, kind):
        return value
    if not kind.__pydantic_complete__:
        kind.model_rebuild()
    annotations = {name: field.annotation for name, field in kind.model_fields.items()}
    if set(annotations) == {"root"} and kind.__pydantic_root_model__:
        value = _prepared(value, annotations["root"])
    elif isinstance(value, dict):
        annotations |= {
            alias: annotations[name] for name, field in kind.model_fields.items() for alias in _aliases(field)
        }
        value = {key: _prepared(item, annotations.get(key, Any)) for key, item in value.items()}
    # Into an instance, as its __init__ would do it: an __init__ of the model's own would forget the strict mode.
    return kind.__pydantic_validator__.validate_python(
        value, strict=True, self_instance=kind.__new__(kind), by_name=True, by_alias=True
    )


def _aliases(field: Any) -> list[str]:
    choices = getattr(field.validation_alias, "choices", [field.validation_alias])
    return [alias for alias in (field.alias, *choices) if isinstance(alias, str)]


def _prepared(value: Any, kind: Any) -> Any:
    """Return a field's value with instances where pydantic's strict mode wants them. The rest it judges itself."""
    kind = getattr(kind, "__value__", kind)  # of `type Colours = list[Colour]`
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _prepared(value, arguments[0])
    if origin in (Union, UnionType):
        return _as_one_of(value, arguments)
    made_of = origin or kind
    if not isinstance(made_of, type):
        return value
    if is_pydantic(made_of):
        return _validated(value, kind) if isinstance(value, dict) else value
    if issubclass(made_of, Enum) or is_model(made_of) or hasattr(made_of, "_fields") or hasattr(made_of, "__total__"):
        try:
            return _converted(value, kind)
        except msgspec.ValidationError:
            if isinstance(value, (dict, list, tuple)):
                raise
            return value  # the model may have a rule of its own for it
        except TypeError:
            return value  # pydantic knows more types
    return _prepared_inside(value, made_of, arguments) if arguments else value


def _as_one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return a value as the first of some types that takes it; of models, as the one that finds most of its fields."""
    if type(value) in kinds:
        return value
    made: list[Any] = []
    refusal = None
    for kind in kinds:
        try:
            made.append(_prepared(value, kind))
        except ValueError as error:  # noqa: PERF203 -- there are few
            refusal = error
    made = [each for each in made if each is not value]
    if not made and refusal is not None:
        raise refusal
    return max(made, key=lambda each: len(getattr(each, "model_fields_set", ())), default=value)


def _prepared_inside(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, dict) and len(arguments) == 2:
        items = {_prepared(key, arguments[0]): _prepared(item, arguments[1]) for key, item in value.items()}
        return OrderedDict(items) if origin is OrderedDict else items
    if isinstance(value, (list, set, frozenset, tuple)):
        is_fixed = origin is tuple and arguments[-1] is not ...
        make: Any = origin if origin in _SEQUENCES else type(value)
        kinds = arguments if is_fixed else arguments[:1] * len(value)
        return make(_prepared(item, kind) for item, kind in zip(value, kinds, strict=True))
    return value


def _name_of(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))
