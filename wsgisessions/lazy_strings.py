"""Text that is not made before it is shown: lazy translations, and whatever renders itself as HTML.

It is rendered when it is assigned, for later the visitor's language may be another one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from markupsafe import Markup

from .refusals import Unkept, failed

# Known by name, so that none of these libraries is imported. An object that merely has a `__str__` is no text.
_LAZY_CLASSES = {
    ("babel.support", "LazyProxy"),
    ("django.utils.functional", "Promise"),
    ("speaklater", "_LazyString"),
}

Renderings = dict[int, tuple[Any, str]]
"""What was rendered, by the object's `id`. The object is kept, so that no other one gets its `id`."""

_renderings: ContextVar[Renderings | None] = ContextVar("wsgisessions renderings", default=None)


def is_lazy(kind: type) -> bool:
    """Tell whether values of a class are rendered: they have `__html__`, or are a known library's lazy strings."""
    return any(
        "__html__" in vars(base) or (base.__module__, base.__qualname__) in _LAZY_CLASSES for base in kind.__mro__
    )


def render(value: Any) -> str:
    """Return a lazy string as the text that it shows, which may have `__html__` in its turn.

    :raises Unkept: its own code raised.
    """
    renderings = _renderings.get()
    known = None if renderings is None else renderings.get(id(value))
    if known is not None:
        return known[1]
    try:
        # As templates do: a lazy string may have it from what it shows.
        text = Markup(value) if hasattr(value, "__html__") else str(value)  # noqa: S704 -- it says that it is HTML
    except RecursionError:
        raise
    except Exception as error:
        raise Unkept(failed(type(value), "__html__ or __str__", error)) from None
    if renderings is not None:
        renderings[id(value)] = (value, text)
    return text


def encode_with(renderings: Renderings, encode: Callable[[Any], str], value: Any) -> str:
    """Encode a value. What was rendered before stays as it was, and what is rendered now is remembered."""
    token = _renderings.set(renderings)
    try:
        return encode(value)
    finally:
        _renderings.reset(token)
