"""The types that an app teaches the codec: `JSONCodec(types={Money: (to_json, from_json)})`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from .errors import ConfigurationError, DecodeError
from .refusals import Unkept, failed
from .tags import CONTAINER_TAGS, COPIES, LOADERS

ToJSON: TypeAlias = Callable[[Any], Any]
FromJSON: TypeAlias = Callable[[Any], Any]
TypeMap: TypeAlias = Mapping[type[Any], tuple[ToJSON, FromJSON] | tuple[ToJSON, FromJSON, str]]
"""Each type with its two functions, and its tag where that is not to be the class's qualified name."""


class CustomType(msgspec.Struct, frozen=True):
    """One type of the app's: its tag, and how a value becomes one that the codec keeps, and back."""

    tag: str
    to_json: ToJSON
    from_json: FromJSON

    def dump(self, value: Any) -> Any:
        """Return what is stored of a value.

        :raises Unkept: the app's function raised.
        """
        try:
            return self.to_json(value)
        except RecursionError:
            raise
        except Exception as error:
            raise Unkept(failed(type(value), "to_json", error)) from None

    def load(self, content: Any) -> Any:
        """Return the value.

        :raises DecodeError: the app's function raised.
        """
        try:
            return self.from_json(content)
        except RecursionError:
            raise
        except Exception as error:
            raise DecodeError(f"the from_json of the tag {self.tag!r} raised {type(error).__name__}") from None


class CustomTypes:
    """The app's types, each checked.

    :raises ConfigurationError: two have one tag, a tag or a type is the package's own, or a function is none.
    """

    def __init__(self, types: TypeMap) -> None:
        self.by_tag: dict[str, CustomType] = {}
        self._by_class: dict[type, CustomType] = {}
        for kind, functions in types.items():
            custom = _checked(kind, functions)
            if custom.tag in self.by_tag:
                raise ConfigurationError(
                    f"types has two types of the tag {custom.tag!r}; give one another: (to_json, from_json, tag)"
                )
            self.by_tag[custom.tag] = self._by_class[kind] = custom

    def of(self, kind: type) -> CustomType | None:
        """Return what the app has taught about a class: about itself, its nearest base, or the first that fits."""
        if not self._by_class:
            return None
        for base in kind.__mro__:
            if base in self._by_class:
                return self._by_class[base]
        # A class may be registered with an abstract base class, and have it in no other way.
        return next((custom for base, custom in self._by_class.items() if issubclass(kind, base)), None)


def _checked(kind: type, functions: tuple[Any, ...]) -> CustomType:
    if not isinstance(kind, type):
        raise ConfigurationError(f"types has classes as its keys; got {type(kind).__name__}")
    if getattr(kind, "_is_protocol", False):
        raise ConfigurationError(f"{kind.__name__} is a Protocol; types is for classes, or abstract base classes")
    if kind in COPIES or kind in (bool, type(None)):
        raise ConfigurationError(f"{kind.__name__} is kept as it is; types is for classes of your own")
    if not isinstance(functions, tuple) or len(functions) not in (2, 3) or not all(map(callable, functions[:2])):
        raise ConfigurationError(f"types has (to_json, from_json) or (to_json, from_json, tag) for {kind.__name__}")
    to_json, from_json, *given = functions
    name = given[0] if given else kind.__qualname__
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"the tag of {kind.__name__} is a str; got {type(name).__name__}")
    tag = f"${name.removeprefix('$')}"
    if tag in LOADERS or tag in CONTAINER_TAGS:
        raise ConfigurationError(
            f"the tag {tag!r} of {kind.__name__} is the package's own; give another: (to_json, from_json, tag)"
        )
    return CustomType(tag, to_json, from_json)
