"""From JSON's types back to the app's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from .custom_types import CustomTypes
from .errors import DecodeError
from .tags import LOADERS

_LONGEST_TAG = 60
_CONTAINERS = frozenset((dict, list, tuple, set, frozenset))


class Decoder:
    """Restores the values that `Encoder` has made JSON of. Their types come from tags only."""

    def __init__(self, types: CustomTypes) -> None:
        restore = self.restore
        self._loaders: dict[str, Callable[[Any], Any]] = {
            **LOADERS,
            "$tuple": lambda items: tuple(restore(item) for item in items),
            "$set": lambda items: {restore(item) for item in items},
            "$frozenset": lambda items: frozenset(restore(item) for item in items),
            "$dict": lambda members: {name: restore(item) for name, item in members.items()},
            "$items": lambda pairs: {restore(key): restore(item) for key, item in pairs},
        }
        self._custom = types.by_tag

    def restore(self, value: Any) -> Any:
        """Return the value that this JSON stands for.

        :raises DecodeError: a tag is unknown, or a function of the app's raised.
        """
        if isinstance(value, list):
            return [self.restore(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, content), *_ = value.items()
            if name.startswith("$"):
                if name in self._loaders:
                    return self._loaders[name](content)
                if name not in self._custom:
                    raise DecodeError(
                        f"the stored value has the tag {name[:_LONGEST_TAG]!r}, which this codec does not know;"
                        " teach it the type again, JSONCodec(types=…)"
                    )
                return self._custom[name].load(self.restore(content))
        return {name: self.restore(item) for name, item in value.items()}


def is_deeper(value: Any, levels: int) -> bool:
    """Tell whether lists, dicts and their kin are nested deeper than so many levels. Calls nothing recursively."""
    inside = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        inside = [item for each in inside for item in _members(each) if type(item) in _CONTAINERS]
        if not inside:
            return False
    return True


def _members(container: Any) -> Iterable[Any]:
    return chain(container, container.values()) if type(container) is dict else container
