"""What is inside a session, and what of it the app has changed.

Knows neither threads nor stores: `Session` guards it, `SessionManager` asks it for its changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .codec import Codec
from .errors import DecodeError, EncodeError, SessionError
from .record import RESERVED_PREFIX

OWN_EXPIRY = f"{RESERVED_PREFIX}expiry"
OWN_CLIENT = f"{RESERVED_PREFIX}client"


class _Live:
    """A value that the app holds and may change in place, and the text it had when last compared.

    It is outdated when its key has got another value since, by a look as another type or by a merge.
    """

    __slots__ = ("encode", "is_outdated", "text", "type", "value")

    def __init__(self, value: Any, text: str | None, type: Any, encode: Callable[[Any], str]) -> None:
        self.value = value
        self.text = text
        self.type = type
        self.encode = encode
        self.is_outdated = False


@dataclass(slots=True)
class Changes:
    """The difference between a session as it was loaded and as the app left it."""

    set: dict[str, str]
    remove: frozenset[str]
    clear: bool

    def __bool__(self) -> bool:
        return bool(self.set or self.remove or self.clear)


_NO_CHANGES = Changes({}, frozenset(), clear=False)


class Contents:
    """The values of one session as texts, the live values made of them, and what was read."""

    __slots__ = (
        "_assigned",
        "_buckets",
        "_cleared",
        "_codec",
        "_live",
        "_read",
        "_removed",
        "base",
    )

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.base: Mapping[str, str] = {}
        self._assigned: dict[str, str] = {}
        self._removed: set[str] = set()
        self._cleared = False
        self._live: dict[str, list[_Live]] = {}
        self._buckets: set[str] = set()
        self._read: set[str] = set()

    def attach(self, texts: Mapping[str, str]) -> None:
        """Take the stored texts as what the app's changes are changes of."""
        self.base = texts

    # --- reading

    def keys(self) -> list[str]:
        """Return the keys in the order in which they were stored, new ones last."""
        self._settle_buckets()
        kept = [] if self._cleared else [key for key in self.base if key not in self._removed]
        return kept + [key for key in self._assigned if self._cleared or key not in self.base]

    def has(self, key: object) -> bool:
        """Tell whether the key is there; counts as reading it."""
        if not isinstance(key, str):
            return False
        self._note_read(key)
        self._settle_buckets()
        return self._text(key) is not None

    def read(self, key: str) -> Any:
        """Return the value of a key.

        :raises KeyError: it is absent.
        :raises DecodeError: its text cannot be read.
        """
        return self._view(key, None, self._codec.encode)

    def read_as(self, key: str, type: Any) -> Any:
        """Return the value of a key as a `type`; raises as `read` does."""
        return self._view(key, type, self._codec.encode_typed)

    def bucket(self, key: str, type: Any) -> Any:
        """Return the value of a key as a `type`, made with the type's defaults if absent."""
        try:
            return self.read_as(key, type)
        except KeyError:
            check_key(key)
        try:
            value = type()
        except (TypeError, ValueError) as error:
            raise EncodeError(
                f"session.bucket({type.__name__}) needs defaults for all of its fields: {error}"
            ) from error
        text = self._encode(key, value, self._codec.encode_typed)
        self._live[key] = [_Live(value, text, type, self._codec.encode_typed)]
        self._buckets.add(key)
        return value

    def _view(self, key: str, type: Any, encode: Callable[[Any], str]) -> Any:
        lives = self._live.get(key, [])
        if len(lives) > 1:
            self._settle(key)
        for live in lives:
            if (live.type is type or live.type == type) and not live.is_outdated:
                self._note_read(key)
                return live.value
        self._settle(key)
        if not isinstance(key, str):
            raise KeyError(key)
        self._note_read(key)
        text = self._text(key)
        if text is None:
            raise KeyError(key)
        try:
            value = self._codec.decode(text) if type is None else self._codec.decode(text, type)
        except DecodeError as error:
            raise DecodeError(f"session key {key!r}: {error}; assign or delete the key to mend it") from error.__cause__
        # A typed value may encode to another text than the stored one (defaults, member order); what
        # counts as a change is measured from its own text.
        self._live.setdefault(key, []).append(_Live(value, text if type is None else encode(value), type, encode))
        return value

    def _note_read(self, key: str) -> None:
        # What this request has assigned tells nothing of what is stored.
        if key not in self._assigned:
            self._read.add(key)

    def _text(self, key: str) -> str | None:
        text = self._assigned.get(key)
        if text is not None or self._cleared or key in self._removed:
            return text
        return self.base.get(key)

    # --- writing

    def assign(self, key: str, value: Any) -> None:
        """Set a key.

        :raises EncodeError: the key or the value has no place in a session.
        """
        check_key(key)
        text = self._encode(key, value, self._codec.encode)
        self._forget(key)
        self._assigned[key] = text
        self._live[key] = [_Live(value, text, None, self._codec.encode)]

    def delete(self, key: str) -> None:
        """Remove a key that is there."""
        self._forget(key)
        self._removed.add(key)

    def clear(self) -> None:
        """Remove every key, the unseen ones too."""
        for kept in (self._assigned, self._removed, self._live, self._buckets):
            kept.clear()
        self._cleared = True

    def discard(self) -> None:
        """Undo every change that is not committed."""
        for kept in (
            self._assigned,
            self._removed,
            self._live,
            self._buckets,
            self._read,
        ):
            kept.clear()
        self._cleared = False

    def _forget(self, key: str) -> None:
        self._assigned.pop(key, None)
        self._removed.discard(key)
        self._live.pop(key, None)
        self._buckets.discard(key)

    # --- what changed

    def is_touched(self) -> bool:
        """Tell whether the app may have changed something, without comparing."""
        return bool(self._assigned or self._removed or self._cleared or self._live)

    def changes(self) -> Changes:
        """Compare what the app wrote, or may have changed in place, with what was loaded.

        :raises EncodeError: a value that was changed in place can no longer be kept.
        """
        for key in self._live:
            self._settle(key)
        base = self.base
        if self._cleared and base:
            return Changes(dict(self._assigned), frozenset(), clear=True)
        if not self._assigned and not self._removed:
            return _NO_CHANGES
        changed = {key: text for key, text in self._assigned.items() if base.get(key) != text}
        return Changes(changed, frozenset(self._removed.intersection(base)), clear=False)

    def expectations(self, changes: Changes, is_guarded: Callable[[str], bool]) -> dict[str, str | None]:
        """Return, for each guarded key that was read and changed, the text it was read with."""
        changed = changes.set.keys() | changes.remove | (self.base.keys() if changes.clear else set())
        return {key: self.base.get(key) for key in changed & self._read if is_guarded(key)}

    def is_empty(self) -> bool:
        """Tell whether a commit would leave no key."""
        return not self._assigned and (self._cleared or len(self._removed) >= len(self.base)) and not self.texts()

    def texts(self) -> dict[str, str]:
        """Return every key with its text, as a commit would leave them."""
        kept = {} if self._cleared else {k: text for k, text in self.base.items() if k not in self._removed}
        return kept | self._assigned

    def commit(self, texts: Mapping[str, str], merged: Iterable[str] = ()) -> None:
        """Take `texts` as stored; of the keys that were merged, what the app holds is outdated."""
        self.base = texts
        # What is stored under these keys is known from now on.
        self._read.update(self._assigned)
        self._assigned.clear()
        self._removed.clear()
        self._cleared = False
        for key in merged:
            for live in self._live.get(key, ()):
                live.is_outdated = True

    def _settle_buckets(self) -> None:
        for key in list(self._buckets):
            self._settle(key)

    def _settle(self, key: str) -> None:
        changed: _Live | None = None
        for live in self._live.get(key, ()):
            if self._codec.is_immutable(live.value):
                continue
            text = self._encode(key, live.value, live.encode)
            if text == live.text:
                continue
            if live.is_outdated:
                raise SessionError(
                    f"a value of the session key {key!r} was changed that is outdated, since the key was merged by"
                    " save() or changed as another type; read it again before you change it"
                )
            if changed is not None:
                raise SessionError(
                    f"session key {key!r} was changed both as {changed.type} and as {live.type}; read it as one type"
                )
            changed = live
            live.text = text
            self._assigned[key] = text
            self._removed.discard(key)
            self._buckets.discard(key)
        if changed is not None:
            for live in self._live[key]:
                live.is_outdated = live is not changed

    def _encode(self, key: str, value: Any, encode: Callable[[Any], str]) -> str:
        try:
            return encode(value)
        except EncodeError as error:
            raise EncodeError(f"session key {key!r}: {error}") from error.__cause__


def has_lone_surrogate(text: str) -> bool:
    """Tell whether a text cannot be written as UTF-8."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def check_key(key: object) -> None:
    """Refuse a key that some engine could not hold.

    :raises EncodeError: it is no str, holds NUL or a lone surrogate, or could be this package's own.
    """
    if not isinstance(key, str):
        raise EncodeError(f"session keys are str; got {type(key).__name__}")
    if "\0" in key:
        raise EncodeError("a session key cannot hold a NUL character")
    if not key.isascii() and has_lone_surrogate(key):
        raise EncodeError("a session key cannot hold a lone surrogate")
    if key.startswith(RESERVED_PREFIX):
        raise EncodeError(f"session keys that start with {RESERVED_PREFIX!r} are reserved; got {key!r}")
