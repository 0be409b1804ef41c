"""Keeping what an object holds out of what tools show of it."""

from __future__ import annotations

from typing import Any


def show_nothing(_: object) -> list[tuple[str, Any]]:
    """Return no field: what a Struct's `__rich_repr__` is, where `repr` is discreet. Rich's tracebacks call it."""
    return []
