"""A framework's flashed messages, in two requests at once: what either flashed is shown, and none is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .merge import Rule

if TYPE_CHECKING:
    from .options import MiddlewareOptions


def with_flashes_merged(key: str, options: MiddlewareOptions) -> Mapping[str, Rule]:
    """Return the app's rules, and one for the framework's key of messages if the app has none."""
    rules = options.get("merges") or {}
    return {key: _merge_flashes, **rules} if isinstance(rules, Mapping) else rules


def _merge_flashes(base: Any, mine: Any, theirs: Any) -> list[Any] | None:
    """Return theirs, less what this request showed, plus what it flashed."""
    before, here, there = _messages(base), _messages(mine), _messages(theirs)
    return _without(there, _without(before, here)) + _without(here, before) or None


def _messages(flashes: Any) -> list[Any]:
    return list(flashes) if isinstance(flashes, list) else []


def _without(messages: list[Any], others: list[Any]) -> list[Any]:
    """Return the messages less the others, each as often as it is among those; the first ones go."""
    left = list(messages)
    for each in others:
        if each in left:
            left.remove(each)
    return left
