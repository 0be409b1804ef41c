"""Why a value cannot be kept, where it is, and what to write instead. No message shows a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set, ValuesView
from typing import Any

from .errors import EncodeError
from .tags import MOST_LEVELS

_LONGEST_NAME = 60
_LONGEST_PATH = 120

STORED_TOO_DEEP = f"the stored value is nested deeper than {MOST_LEVELS} levels"
TOO_DEEP = f"is nested deeper than {MOST_LEVELS} levels, or contains itself; store it flatter, or in parts"
LONE_SURROGATE = (
    "is text with a lone surrogate, which UTF-8 cannot hold;"
    " store text.encode('utf-8', 'replace').decode(), or the bytes"
)
LONE_SURROGATE_IN_KEY = "has a key with a lone surrogate, which UTF-8 cannot hold; use another key"
TOO_LONG_AN_INT = "is an int with more digits than Python writes; store a str of it"
NOT_A_TIME = "is no point in time, for it does not equal itself; store None"
NO_OFFSET = "has a time zone that tells no offset here, and would come back without it; store a datetime"
KEYS_BECOME_ONE = (
    "has two keys that would become one in a session, such as an Enum's member and its value; rename one of them"
)
MEMBERS_BECOME_ONE = (
    "has two members that would become one in a session, such as an Enum's member and its value; leave one out"
)
COMES_BACK_UNHASHABLE = "holds a key or member that would come back as something that cannot be hashed; store a list"
STACK_IS_FULL = (
    "the call stack is too near to Python's recursion limit to look into a session's value;"
    " call from further up, or raise sys.setrecursionlimit()"
)


_WRITE: dict[type, str] = {
    bytearray: "bytes",
    memoryview: "bytes",
    Mapping: "dict",
    Set: "set",
    Sequence: "list",
    ValuesView: "list",
}
"""What keeps the content of some types that are not kept; the first that fits."""


class Unkept(Exception):
    """A value that cannot be kept. Gathers the path to it on its way up."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []

    def at(self, step: str) -> Unkept:
        """Return the refusal with one more step in front of its path."""
        self.steps.append(step)
        return self

    def error(self) -> EncodeError:
        """Return the error for the app."""
        path = "".join(reversed(self.steps))
        if len(path) > _LONGEST_PATH:
            path = f"{path[:_LONGEST_PATH]}…"
        return EncodeError(f"{path or 'the value'} {self.reason}")


def step_to(key: Any) -> str:
    """Return the step of a path to a dict's member. Only names are shown; another key may be a value."""
    if isinstance(key, str):
        name = str.__str__(key)
        return f"[{name!r}]" if len(name) <= _LONGEST_NAME else f"[{name[:_LONGEST_NAME]!r}…]"
    return f"[a key of type {type(key).__name__}]"


def of_type(kind: type, *, is_bucket_member: bool = False) -> str:
    """Return why a type is not kept, and what to write instead."""
    reason = f"is of type {kind.__module__}.{kind.__qualname__}, which a session does not keep"
    if is_bucket_member:
        return f"{reason}; use a type that it keeps for this field, or teach the codec: JSONCodec(types=…)"
    if hasattr(kind, "model_fields"):
        return f"{reason} as it is; use session.bucket({kind.__name__}) or its .model_dump(mode='json')"
    if any(hasattr(kind, each) for each in ("__dataclass_fields__", "__struct_fields__", "__attrs_attrs__")):
        return f"{reason} as it is; use session.bucket({kind.__name__})"
    for base, name in _WRITE.items():
        if issubclass(kind, base):
            return f"{reason}; write {name}(...) around it"
    return (
        f"{reason}; store an ID, a str or a dict of its parts instead,"
        f" or teach the codec: JSONCodec(types={{{kind.__name__}: (to_json, from_json)}})"
    )


def keeps_items_elsewhere(kind: type) -> str:
    """Return why a dict is not kept whose items are not where a dict has them."""
    return (
        f"is of type {kind.__module__}.{kind.__qualname__}, which does not keep its items as a dict does;"
        " write dict(...) around it"
    )


def not_finite(value: float) -> str:
    """Return why NaN and infinity are not kept."""
    return f"is {value!r}, which JSON cannot hold; store None, or use JSONCodec(allow_nan=True)"


def failed(kind: type, what: str, error: Exception) -> str:
    """Return that code of the value's own class raised. Its message may quote the value."""
    return f"is of type {kind.__module__}.{kind.__qualname__}, whose {what} raised {type(error).__name__}"
