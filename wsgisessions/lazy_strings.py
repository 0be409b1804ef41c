"""Lazy translations, and whatever renders itself as HTML.

They are rendered when they are assigned: later the visitor's language may be another one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from operator import methodcaller
from typing import Any

from markupsafe import Markup

# Known by name, so that none of these libraries is imported. An object that merely has a `__str__` is no text.
_LAZY_CLASSES: dict[tuple[str, str], Callable[[Any], str]] = {
    ("babel.support", "LazyProxy"): str,
    ("django.utils.functional", "Promise"): str,
    ("speaklater", "_LazyString"): str,
    # Pyramid's, with its default and its mapping; the translation is the app's to ask for.
    ("translationstring", "TranslationString"): methodcaller("interpolate"),
}

Renderings = dict[int, tuple[Any, str]]
"""What was rendered, by the object's `id`. The object is kept, so that no other one gets its `id`."""


class _Remembered(threading.local):
    renderings: Renderings | None = None


# Not a ContextVar: values are encoded in finalizers, too. Before Python 3.12 the garbage collector may run one while
# some ContextVar is being set, and setting another one there crashes the interpreter.
_remembered = _Remembered()


@lru_cache(maxsize=1024)
def is_lazy(kind: Any) -> bool:
    """Tell whether values of a class are rendered: they have `__html__`, or are a known library's lazy strings."""
    return any("__html__" in vars(base) for base in kind.__mro__) or _function_of(kind) is not None


@lru_cache(maxsize=256)
def _function_of(kind: Any) -> Callable[[Any], str] | None:
    names = ((base.__module__, base.__qualname__) for base in kind.__mro__)
    return next((_LAZY_CLASSES[name] for name in names if name in _LAZY_CLASSES), None)


def render(value: Any) -> str:
    """Return a lazy string as the text that it shows, which may have `__html__` in its turn."""
    renderings = _remembered.renderings
    known = None if renderings is None else renderings.get(id(value))
    if known is not None:
        return known[1]
    kind: Any = type(value)
    show = _function_of(kind) or str
    # As templates do: a lazy string may have it from what it shows.
    text = Markup(value) if hasattr(value, "__html__") else show(value)  # noqa: S704 -- it says that it is HTML
    if renderings is not None:
        renderings[id(value)] = (value, text)
    return text


def encode_with(renderings: Renderings, encode: Callable[[Any], str], value: Any) -> str:
    """Encode a value. What was rendered before stays as it was, and what is rendered now is remembered."""
    before, _remembered.renderings = _remembered.renderings, renderings
    try:
        return encode(value)
    finally:
        _remembered.renderings = before
