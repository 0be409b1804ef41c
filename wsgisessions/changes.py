"""What is inside a session, and what of it the app has changed.

Knows neither threads nor stores: `Session` guards it, the commit asks it for its difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from .codec import Codec
from .discreet import show_nothing
from .errors import DecodeError, EncodeError, SessionError
from .lazy_strings import Renderings, encode_with
from .record import RESERVED_PREFIX
from .surrogates import has_lone_surrogate

_logger = logging.getLogger("wsgisessions")


class LiveValue(msgspec.Struct, eq=False):
    """A value that the app holds and may change in place, and the text it had when last compared.

    It is outdated when its key has got another value since, by a look as another type or by a merge.
    """

    value: Any
    text: str | None
    type: Any
    encode: Callable[[Any], str]
    is_outdated: bool = False
    renderings: Renderings = {}
    """What lazy strings inside it showed when they were assigned."""

    def text_now(self) -> str:
        """Return the text of the value as it is now."""
        return encode_with(self.renderings, self.encode, self.value)

    def __repr__(self) -> str:
        return f"<LiveValue of type {type(self.value).__name__}>"

    __rich_repr__ = show_nothing


class Difference(msgspec.Struct, frozen=True):
    """What a commit is to write: texts to set, and keys to remove. `repr` shows the keys only."""

    set: Mapping[str, str]
    remove: AbstractSet[str] = frozenset()

    def __repr__(self) -> str:
        return f"<Difference set={sorted(self.set)} remove={sorted(self.remove)}>"

    __rich_repr__ = show_nothing


class Changes(msgspec.Struct, eq=False):
    """A session's texts as they were loaded (`base`), and what was read, assigned, removed or may have changed."""

    codec: Codec
    base: Mapping[str, str] = {}
    assigned: dict[str, str] = {}
    removed: set[str] = set()
    live: dict[str, list[LiveValue]] = {}
    """The values that the app holds and can change in place."""
    scalars: dict[str, Any] = {}
    """The other values that were read or assigned: what cannot change in place needs no second look."""
    buckets: set[str] = set()
    """The keys whose value was made from its type's defaults, and is stored once it differs from them."""
    keys_read: set[str] = set()

    def __repr__(self) -> str:
        return f"<Changes assigned={sorted(self.assigned)} removed={sorted(self.removed)}>"

    __rich_repr__ = show_nothing

    # --- reading

    def keys(self) -> list[str]:
        """Return the keys in the order in which they were stored, new ones last."""
        self._settle_buckets()
        kept = [key for key in self.base if key not in self.removed]
        return kept + [key for key in self.assigned if key not in self.base]

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
        if key in self.live:
            return self._view(key, None, self.codec.encode)
        if key in self.scalars:
            return self.scalars[key]
        text = self.assigned.get(key)
        if text is None:
            # What this request has assigned tells nothing of what is stored.
            self.keys_read.add(key)
            text = None if key in self.removed else self.base.get(key)
            if text is None:
                raise KeyError(key)
        try:
            value = self.codec.decode(text)
        except DecodeError as error:
            raise cannot_read(key, error) from error.__cause__
        if type(value) in self.codec.immutable_types:
            self.scalars[key] = value
        else:
            self.live[key] = [LiveValue(value, text, None, self.codec.encode)]
        return value

    def read_as(self, key: str, type: Any) -> Any:
        """Return the value of a key as a `type`; raises as `read` does."""
        return self._view(key, type, self.codec.encode_typed)

    def bucket(self, key: str, type: Any, *, resets: bool = False) -> Any:
        """Return the value of a key as a `type`, made with the type's defaults if absent.

        :param resets: make it anew also where it does not fit, and tell the log.
        """
        does_fit = True
        try:
            return self.read_as(key, type)
        except KeyError:
            check_key(key)
        except DecodeError:
            if not resets:
                raise
            does_fit = False
        bucket = LiveValue(_made_with_defaults(type), None, type, self.codec.encode_typed)
        bucket.text = self._text_of(key, bucket)
        self._require_readable(bucket)
        if not does_fit:
            _logger.warning(
                "session key %r: the stored value cannot be read as %s; it starts anew with the defaults",
                key,
                type.__qualname__,
            )
        for live in self.live.get(key, ()):
            live.is_outdated = True
        self.live[key] = [*self.live.get(key, ()), bucket]
        self.buckets.add(key)
        return bucket.value

    def _require_readable(self, bucket: LiveValue) -> None:
        """Refuse a class that the next request could not read."""
        try:
            self.codec.decode(bucket.text or "", bucket.type)
        except (DecodeError, TypeError) as error:
            raise EncodeError(
                f"session.bucket({bucket.type.__name__}) cannot be read back as it is stored: {error}"
            ) from error.__cause__

    def _view(self, key: str, type: Any, encode: Callable[[Any], str]) -> Any:
        lives = self.live.get(key, [])
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
            value = self.codec.decode(text) if type is None else self.codec.decode(text, type)
        except DecodeError as error:
            raise cannot_read(key, error) from error.__cause__
        if value.__class__ not in self.codec.immutable_types:
            live = LiveValue(value, text, type, encode)
            if type is not None:
                # A typed value may encode to another text than the stored one (defaults, member order); what
                # counts as a change is measured from its own text.
                live.text = self._text_of(key, live)
            self.live.setdefault(key, []).append(live)
        return value

    def _note_read(self, key: str) -> None:
        if key not in self.assigned:
            self.keys_read.add(key)

    def _text(self, key: str) -> str | None:
        text = self.assigned.get(key)
        if text is not None or key in self.removed:
            return text
        return self.base.get(key)

    # --- writing

    def assign(self, key: str, value: Any) -> None:
        """Set a key.

        :raises EncodeError: the key or the value has no place in a session.
        """
        if key not in self.base:
            check_key(key)
        codec = self.codec
        live = None if type(value) in codec.immutable_types else LiveValue(value, None, None, codec.encode)
        try:
            text = codec.encode(value) if live is None else live.text_now()
        except EncodeError as error:
            raise cannot_keep(key, error) from error.__cause__
        self.assigned[key] = text
        self.removed.discard(key)
        self.buckets.discard(key)
        if live is None:
            self.scalars[key] = value
            self.live.pop(key, None)
        else:
            live.text = text
            self.live[key] = [live]
            self.scalars.pop(key, None)

    def delete(self, key: str) -> None:
        """Remove a key that is there."""
        self.assigned.pop(key, None)
        self.live.pop(key, None)
        self.scalars.pop(key, None)
        self.buckets.discard(key)
        self.removed.add(key)

    def forget_base(self) -> None:
        """Learn that nothing of what was loaded is stored any more; what was written stays."""
        self.base = {}
        self.scalars.clear()
        self.live = {key: lives for key, lives in self.live.items() if key in self.assigned}

    def discard(self) -> None:
        """Undo every change that is not committed."""
        for kept in (self.assigned, self.removed, self.live, self.scalars, self.buckets, self.keys_read):
            kept.clear()

    # --- what changed

    def difference(self) -> Difference | None:
        """Return what differs from what was loaded, after a look at what may have changed in place; None: nothing.

        :raises EncodeError: a value that was changed in place can no longer be kept.
        """
        for key in tuple(self.live):  # a lazy string may look into the session while it is rendered
            self._settle(key)
        if not self.assigned and not self.removed:
            return None
        base = self.base
        texts = {key: text for key, text in self.assigned.items() if base.get(key) != text}
        removed = self.removed.intersection(base)
        return Difference(texts, removed) if texts or removed else None

    def changed_keys(self) -> set[str]:
        """Return the keys that a commit would set or remove, and those whose value can no longer be kept."""
        broken = set()
        for key in tuple(self.live):
            try:
                self._settle(key)
            except Exception:  # noqa: PERF203 -- one bad value does not hide the others
                broken.add(key)
        base = self.base
        changed = {key for key, text in self.assigned.items() if base.get(key) != text}
        return broken | changed | self.removed.intersection(base)

    def expectations(self, difference: Difference, is_guarded: Callable[[str], bool]) -> dict[str, str | None]:
        """Return, for each guarded key that was read and changed, the text it was read with."""
        changed = difference.set.keys() | difference.remove
        return {key: self.base.get(key) for key in changed & self.keys_read if is_guarded(key)}

    def is_empty(self) -> bool:
        """Tell whether a commit would leave no key."""
        return not self.assigned and len(self.removed) >= len(self.base) and not self.texts()

    def texts(self) -> dict[str, str]:
        """Return every key with its text, as a commit would leave them."""
        return {key: text for key, text in self.base.items() if key not in self.removed} | self.assigned

    def commit(self, texts: Mapping[str, str], merged: Iterable[str] = ()) -> None:
        """Take `texts` as stored; of the keys that were merged, what the app holds is outdated."""
        self.base = texts
        # What is stored under these keys is known from now on.
        self.keys_read.update(self.assigned)
        self.assigned.clear()
        self.removed.clear()
        for key in merged:
            self.scalars.pop(key, None)
            for live in self.live.get(key, ()):
                live.is_outdated = True

    def _settle_buckets(self) -> None:
        for key in tuple(self.buckets):
            self._settle(key)

    def _settle(self, key: str) -> None:
        """Compare the values that the app holds of a key with their texts, and assign what changed in place."""
        changed: LiveValue | None = None
        for live in tuple(self.live.get(key, ())):
            text = self._text_of(key, live)
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
            self.assigned[key] = text
            self.scalars.pop(key, None)
            self.removed.discard(key)
            self.buckets.discard(key)
        if changed is not None:
            for live in self.live[key]:
                live.is_outdated = live is not changed

    def _text_of(self, key: str, live: LiveValue) -> str:
        try:
            return live.text_now()
        except EncodeError as error:
            raise cannot_keep(key, error) from error.__cause__


def _made_with_defaults(kind: Any) -> Any:
    try:
        return kind()
    except (TypeError, ValueError) as error:
        raise EncodeError(
            f"session.bucket({kind.__name__}) needs defaults for all of its fields; {kind.__name__}() raised"
            f" {type(error).__name__}"
        ) from None


def check_key(key: object) -> None:
    """Refuse a key that some engine could not hold.

    :raises EncodeError: it is no str, holds NUL or a lone surrogate, or could be this package's own.
    """
    if not isinstance(key, str):
        raise EncodeError(f"session keys are str; got {type(key).__name__}")
    if "\0" in key:
        raise EncodeError("a session key cannot hold a NUL character")
    if has_lone_surrogate(key):
        raise EncodeError("a session key cannot hold a lone surrogate")
    if key.startswith(RESERVED_PREFIX):
        raise EncodeError(f"session keys that start with {RESERVED_PREFIX!r} are reserved; got {key!r}")


def cannot_keep(key: str, error: EncodeError) -> EncodeError:
    """Return the error for the app, with the session key."""
    return EncodeError(f"session key {key!r}: {error}")


def cannot_read(key: str, error: DecodeError) -> DecodeError:
    """Return the error for the app, with the session key."""
    return DecodeError(f"session key {key!r}: {error}; assign or delete the key to mend it")
