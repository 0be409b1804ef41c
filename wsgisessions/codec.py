"""One value to one JSON text and back.

Never pickle: reading a text can execute nothing but the functions that the app has given.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Protocol, TypeVar, overload

import msgspec

from . import refusals
from .custom_types import CustomTypes, TypeMap
from .decoding import Decoder, is_deeper
from .encoding import Encoder, dump
from .errors import DecodeError, EncodeError
from .refusals import Unkept
from .tags import AS_THEY_ARE, IMMUTABLE_TYPES, MOST_LEVELS
from .typed_reads import read_as

T = TypeVar("T")

_MOST_BRACKETS = 3 * MOST_LEVELS
"""How deep a text of this codec can be: a dict with other keys than str takes three levels of JSON."""

_SHORTEST_DEEP_TEXT = 2 * MOST_LEVELS

# Whatever a damaged or hostile text can make a loader raise.
_NOT_OURS = (msgspec.MsgspecError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError)

_load = msgspec.json.Decoder().decode
_brackets_and_strings = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]').findall


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

    None, bool, int, float, str, list, dict, datetime, date, time, timedelta, UUID, Decimal, bytes, tuple, set,
    frozenset and `markupsafe.Markup` come back as they went in, nested anywhere, as keys of a dict too. A time zone
    comes back as its UTC offset, and a time without its `fold`. Subclasses of all these come back as their base,
    what has `__html__` as Markup, a lazy translation as what it shows, a number of another library as int or float,
    an Enum's member as its value.

    :param types: classes of the app's own, each with two functions: `{Money: (to_json, from_json)}`. The first
        returns something that is kept, the second makes the value of it again. The stored tag is the class's
        qualified name, or the one you give: `{Money: (to_json, from_json, "money")}`.
    :param allow_nan: keep NaN and infinity, instead of refusing them.
    :raises ConfigurationError: two types have one tag, or a tag is the package's own, or a function is none.
    """

    immutable_types: Collection[type] = IMMUTABLE_TYPES

    def __init__(self, *, types: TypeMap | None = None, allow_nan: bool = False) -> None:
        custom_types = CustomTypes(types or {})
        self._restore = Decoder(custom_types).restore
        self._encoder = Encoder(custom_types, self._restore, allow_nan=allow_nan, models=False)
        self._model_encoder = Encoder(custom_types, self._restore, allow_nan=allow_nan, models=True)

    def encode(self, value: Any) -> str:
        """Return the value's JSON text.

        A dataclass, attrs class, msgspec Struct or pydantic model is encoded by
        `encode_typed` only.

        :raises EncodeError: with the path of the offender, such as `['cart'][0]`.
        """
        try:
            return dump(value if type(value) in AS_THEY_ARE else self._encoder.to_json(value)).decode()
        except (Unkept, ValueError, RecursionError) as error:
            failure = error
        # Raised here, it has no context: that of a surrogate is a whole text.
        raise _error_of(failure, self._encoder, value)

    def encode_typed(self, value: Any) -> str:
        """Return the text of a dataclass, attrs class, msgspec Struct or pydantic model, or a list of them.

        :raises EncodeError: a member of it cannot be kept.
        """
        try:
            return dump(self._model_encoder.to_json(value)).decode()
        except (Unkept, ValueError, RecursionError) as error:
            failure = error
        raise _error_of(failure, self._model_encoder, value)

    @overload
    def decode(self, text: str) -> Any: ...
    @overload
    def decode(self, text: str, type: type[T]) -> T: ...
    def decode(self, text: str, type: Any = None) -> Any:
        """Return the value, converted into `type` (strictly: "1" is no int) where one is given.

        :raises DecodeError: the text is not JSON of this codec, or does not fit the type.
        :raises TypeError: no value can be read as this type.
        """
        try:
            value = _load(text)
            if '"$' in text:
                value = self._restore(value)
        except DecodeError:
            raise
        except RecursionError:
            if not _has_deep_brackets(text):
                raise RecursionError(refusals.STACK_IS_FULL) from None
            raise DecodeError(refusals.STORED_TOO_DEEP) from None
        except _NOT_OURS:
            # The cause would quote what is stored.
            raise DecodeError("the stored text is not one that this codec wrote") from None
        # Counting brackets spares most values the look inside.
        if (
            len(text) > _SHORTEST_DEEP_TEXT
            and text.count("[") + text.count("{") > MOST_LEVELS
            and is_deeper(value, MOST_LEVELS)
        ):
            raise DecodeError(refusals.STORED_TOO_DEEP)
        return value if type is None else read_as(value, type)


def _error_of(failure: Exception, encoder: Encoder, value: Any) -> EncodeError:
    if isinstance(failure, Unkept):
        return failure.error()
    if isinstance(failure, RecursionError):
        return EncodeError(refusals.STACK_IS_FULL)
    try:
        encoder.checking().to_json(value)
    except Unkept as refusal:
        return refusal.error()
    except RecursionError:
        pass
    return EncodeError(refusals.STACK_IS_FULL)


def _has_deep_brackets(text: str) -> bool:
    level = 0
    for mark in _brackets_and_strings(text):
        level += (mark in "[{") - (mark in "]}")
        if level > _MOST_BRACKETS:
            return True
    return False
