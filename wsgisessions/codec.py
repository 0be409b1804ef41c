"""One value to one JSON text and back.

Types that JSON lacks travel as an object with one member whose name starts with `$`, such as
`{"$datetime": "2030-01-01T00:00:00+00:00"}`; a dict of the app's that looks like one is wrapped in
`{"$dict": …}`, so it comes back as it went in. Never pickle: reading a text can execute nothing.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol, TypeVar, cast, overload
from uuid import UUID

import markupsafe
import msgspec

from .errors import DecodeError, EncodeError

T = TypeVar("T")

_PLAIN = (type(None), bool, int, str)
_KEPT_BY_TAGS = (datetime, date, time, timedelta, UUID, Decimal, bytes)
_IMMUTABLE = frozenset((*_PLAIN, *_KEPT_BY_TAGS, float, markupsafe.Markup))

# Whatever a damaged or hostile text can make a loader below raise.
_NOT_OURS = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)

_path_at_the_end = re.compile(r" - at `\$[^`]*`$").search

_dump = msgspec.json.Encoder().encode
_load = msgspec.json.Decoder().decode


class Codec(Protocol):
    """How one value becomes one text; texts never hold NUL or lone surrogates."""

    def encode(self, value: Any) -> str:
        """Return the value's text; equal texts count as no change.

        :raises EncodeError: the value, or one inside it, cannot be kept.
        """
        ...

    def encode_typed(self, value: Any) -> str:
        """Return the text of a value that was made by `decode` with a type, or of a bucket.

        :raises EncodeError: the value, or one inside it, cannot be kept.
        """
        ...

    @overload
    def decode(self, text: str) -> Any: ...
    @overload
    def decode(self, text: str, type: type[T]) -> T: ...
    def decode(self, text: str, type: Any = None) -> Any:
        """Return the value, converted straight into `type` where one is given.

        :raises DecodeError: the text is not of this codec, or does not fit the type.
        """
        ...

    @property
    def immutable_types(self) -> Collection[type]:
        """The types whose values cannot change in place, so that encoding one once is enough."""
        ...


class JSONCodec:
    """JSON, and the types of daily use that JSON lacks.

    None, bool, int, float, str, list and dict (with str keys), and datetime, date, time,
    timedelta, UUID, Decimal, bytes, tuple, set, frozenset and `markupsafe.Markup` come back as they
    went in, nested anywhere; a time zone comes back as its UTC offset, and a time without its `fold`.
    An Enum's member comes back as its value. Subclasses are refused, for they would come back as something else.

    :param allow_nan: keep NaN and infinity, instead of refusing them.
    """

    immutable_types: Collection[type] = _IMMUTABLE

    def __init__(self, *, allow_nan: bool = False) -> None:
        self._allow_nan = allow_nan

    def encode(self, value: Any) -> str:
        """Return the value's JSON text.

        A dataclass, attrs class, msgspec Struct or pydantic model is encoded by
        `encode_typed` only.

        :raises EncodeError: with the path of the offender, such as `['cart'][0]`.
        """
        try:
            return _dump(value if type(value) in _PLAIN else self._to_json(value, "")).decode()
        except UnicodeEncodeError as error:
            raise EncodeError("text with a lone surrogate cannot be kept in a session") from error
        except ValueError as error:
            raise EncodeError(f"the value cannot be kept in a session: {error}") from error
        except RecursionError:
            raise EncodeError("the value contains itself or is nested too deeply") from None

    def encode_typed(self, value: Any) -> str:
        """Return the text of a dataclass, attrs class, msgspec Struct or pydantic model, or a list of them.

        :raises EncodeError: a member of it cannot be kept.
        """
        if type(value) in _ENCODABLE:
            with suppress(EncodeError):
                return self.encode(value)
        try:
            plain = msgspec.to_builtins(
                value,
                builtin_types=_KEPT_BY_TAGS,
                enc_hook=_dump_model,
                order="deterministic",
            )
        except (TypeError, ValueError, RecursionError) as error:
            raise EncodeError(f"a {type(value).__name__} cannot be kept in a session: {error}") from error
        return self.encode(plain)

    @overload
    def decode(self, text: str) -> Any: ...
    @overload
    def decode(self, text: str, type: type[T]) -> T: ...
    def decode(self, text: str, type: Any = None) -> Any:
        """Return the value, converted into `type` (strictly: "1" is no int) where one is given.

        :raises DecodeError: the text is not JSON of this codec, or does not fit the type.
        """
        try:
            value = _load(text)
            if '"$' in text:
                value = _from_json(value)
        except _NOT_OURS:
            # The cause would quote what is stored.
            raise DecodeError("the stored text is not one that this codec wrote") from None
        if type is None:
            return value
        try:
            return msgspec.convert(value, type, dec_hook=_load_model)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            name = getattr(type, "__name__", str(type))
            # The cause may quote what is stored; msgspec's ends with the path to it, which does not.
            path = _path_at_the_end(str(error))
            raise DecodeError(f"the stored value is no {name}{path[0] if path else ''}") from None

    def _to_json(self, value: Any, path: str) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else self._non_finite(value, path)
        if kind is list:
            return [self._to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if kind is dict:
            return self._object(value, path)
        if kind is tuple:
            return {"$tuple": [self._to_json(item, f"{path}[{index}]") for index, item in enumerate(value)]}
        if kind is set or kind is frozenset:
            return {f"${kind.__name__}": self._sorted(value, path)}
        if kind in _DUMPERS:
            return {f"${kind.__name__}": _DUMPERS[kind](value)}
        if isinstance(value, Enum):
            return self._to_json(value.value, path)
        raise EncodeError(_refusal(value, path))

    def _object(self, value: dict[Any, Any], path: str) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, item in value.items():
            if type(name) is not str:
                raise EncodeError(
                    f"dict keys in a session must be str; {_at(path)} has one of type {type(name).__name__}"
                )
            members[name] = self._to_json(item, f"{path}[{name!r}]")
        if len(members) == 1 and next(iter(members)).startswith("$"):
            return {"$dict": members}
        return members

    def _sorted(self, value: set[Any] | frozenset[Any], path: str) -> list[Any]:
        # A set has no order of its own; without one, an untouched set would read as changed.
        members = [self._to_json(item, f"{path}{{…}}") for item in value]
        return sorted(members, key=_dump)

    def _non_finite(self, value: float, path: str) -> dict[str, str]:
        if self._allow_nan:
            return {"$float": repr(value)}
        raise EncodeError(
            f"{_at(path)} is {value!r}, which JSON cannot hold; store None, or use JSONCodec(allow_nan=True)"
        )


def _at(path: str) -> str:
    return path or "the value"


def _refusal(value: Any, path: str) -> str:
    kind = type(value)
    where = f"{_at(path)} is of type {kind.__module__}.{kind.__qualname__}, which a session does not keep"
    base = next((base.__name__ for base in kind.__mro__[1:] if base in _ENCODABLE), None)
    if base is not None:
        return f"{where}; write {base}(...) around it"
    if hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__struct_fields__") or hasattr(kind, "__attrs_attrs__"):
        return f"{where} as it is; use session.bucket({kind.__name__})"
    if hasattr(kind, "model_fields"):
        return f"{where} as it is; use session.bucket({kind.__name__}) or its .model_dump(mode='json')"
    return f"{where}; store an ID, a str or a dict of its parts instead"


def _load_bytes(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError  # bits that say nothing are not as this codec writes them
    return data


_DUMPERS: dict[type, Callable[[Any], Any]] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    UUID: str,
    Decimal: str,
    bytes: lambda value: base64.b64encode(value).decode("ascii"),
    markupsafe.Markup: str.__str__,
}

_LOADERS: dict[str, Callable[[Any], Any]] = {
    "$datetime": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$time": time.fromisoformat,
    "$timedelta": lambda parts: timedelta(*parts),
    "$UUID": UUID,
    "$Decimal": Decimal,
    "$bytes": _load_bytes,
    "$Markup": markupsafe.Markup,
    "$float": float,
    "$tuple": lambda items: tuple(_from_json(item) for item in items),
    "$set": lambda items: {_from_json(item) for item in items},
    "$frozenset": lambda items: frozenset(_from_json(item) for item in items),
    "$dict": lambda members: {name: _from_json(item) for name, item in members.items()},
}

_ENCODABLE = frozenset((*_IMMUTABLE, list, dict, tuple, set, frozenset)) - {
    type(None),
    bool,
}


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, content), *_ = value.items()
        if name.startswith("$"):
            return _LOADERS[name](content)
    return {name: _from_json(item) for name, item in value.items()}


def _dump_model(value: Any) -> Any:
    if hasattr(value, "__pydantic_validator__"):
        return value.model_dump(round_trip=True)
    if isinstance(value, markupsafe.Markup):
        return str(value)
    raise EncodeError(_refusal(value, ""))


def _load_model(kind: type[Any], value: Any) -> Any:
    if hasattr(kind, "__pydantic_validator__"):
        return cast("Any", kind).model_validate(value, by_name=True, by_alias=True)
    if kind is markupsafe.Markup:
        return markupsafe.Markup(value)  # noqa: S704 -- it was Markup when the app stored it
    raise DecodeError(f"a {kind.__name__} cannot be read from a session")
