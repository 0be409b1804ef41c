"""Text that no store can hold."""

from __future__ import annotations


def has_lone_surrogate(text: str) -> bool:
    """Tell whether a text cannot be written as UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
