"""One session's texts, encrypted under its data key.

Each text is bound to the name of its field, so one that somebody moves to another field or another
session is refused. The data key lies beside the texts, encrypted under the app's key and bound to the ID
hash, the creation time and the owner. So a new session ID or an owner costs one small field, and a new key
of the app needs no text written anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from enum import Enum, auto
from typing import Any, TypeVar, overload

from msgspec.structs import replace

from .codec import Codec
from .errors import DecodeError
from .keyring import Cipher, Keyring, is_encrypted
from .record import Patch, Record
from .reserved_fields import DATA_KEY_FIELD

T = TypeVar("T")

_UNREADABLE = "\0"
"""Starts what a text that cannot be decrypted is replaced by. No codec's text holds NUL."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


class Wrapping(Enum):
    """How the session's data key is stored."""

    CURRENT = auto()
    """Encrypted under the app's first key."""
    OUTDATED = auto()
    """Encrypted under another one; the next write replaces it."""
    MISSING = auto()
    """Not at all: the session was stored in plain, and the next write encrypts it."""


CURRENT, OUTDATED, MISSING = Wrapping


def bound_to(id_hash: str, record: Record) -> bytes:
    """Return what a data key is bound to: the session's ID hash, creation time and owner, separated by spaces.

    The time is in whole milliseconds since 1970, for that is what every engine keeps. Without an owner there
    are only two parts, so no two sessions have the same text.
    """
    created = (record.created_at - _EPOCH) // _MILLISECOND
    bound = f"{id_hash} {created}" if record.owner is None else f"{id_hash} {created} {record.owner}"
    return bound.encode("utf-8", "surrogatepass")


class Seal:
    """The encryption of one session, as one request knows it.

    :param reads_plain: take a text that is not encrypted as it is; the next write encrypts it.
    """

    __slots__ = ("_cipher", "_data_key", "_keyring", "_plain", "_reads_plain", "_stored", "_wrapping")

    def __init__(
        self, keyring: Keyring, data_key: bytes, wrapping: Wrapping = CURRENT, *, reads_plain: bool = False
    ) -> None:
        self._keyring = keyring
        self._data_key = data_key
        self._wrapping = wrapping
        self._reads_plain = reads_plain
        self._cipher = Cipher(data_key)
        # By field: its text and what the store has of it; and the texts that the store has in plain.
        self._stored: dict[str, tuple[str, str]] = {}
        self._plain: dict[str, str] = {}

    @property
    def is_incomplete(self) -> bool:
        """Whether something of the session is stored in plain, and the next write is to encrypt it."""
        return bool(self._plain) or self._wrapping is MISSING

    def open(self, record: Record) -> Record:
        """Return the record with its texts decrypted."""
        fields = {name: self.open_text(name, text) for name, text in record.fields.items() if name != DATA_KEY_FIELD}
        return replace(record, fields=fields)

    def open_text(self, name: str, stored: str) -> str:
        """Return the text of a field, or what no codec reads if it cannot be decrypted."""
        if self._wrapping is MISSING:
            self._plain[name] = stored
            return stored
        data = self._cipher.decrypt(stored, _bytes_of(name))
        if data is None and self._reads_plain and not is_encrypted(stored):
            self._plain[name] = stored
            return stored
        text = _UNREADABLE + stored if data is None else data.decode("utf-8", "surrogatepass")
        self._stored[name] = text, stored
        return text

    def close(self, id_hash: str, record: Record) -> Record:
        """Return the record with its texts encrypted, for a session that begins at an ID hash."""
        fields = {name: self._encrypt(name, text) for name, text in record.fields.items()}
        self._stored = {name: (text, fields[name]) for name, text in record.fields.items()}
        return replace(record, fields=fields | self._wrapped(id_hash, record))

    def close_patch(self, id_hash: str, record: Record, patch: Patch, new_id_hash: str | None = None) -> Patch:
        """Return the patch with its texts encrypted, and with what else is to be written.

        That is every text that was read in plain: it is expected to be there still, or what another request
        has written meanwhile would be lost.

        :param record: the session as it was loaded.
        :param new_id_hash: where the session moves, if it does.
        """
        expect = self._plain | dict(patch.expect) if self._plain else patch.expect
        # The very text that was loaded is expected; a second encryption of it would be another.
        expected = {name: None if text is None else self._as_stored(name, text) for name, text in expect.items()}
        if self._wrapping is MISSING:
            expected[DATA_KEY_FIELD] = None
        sealed = {name: self._encrypt(name, text) for name, text in self._written(patch).items()}
        if new_id_hash is not None or self._wrapping is not CURRENT:
            owned = record if patch.owner is None else replace(record, owner=patch.owner)
            sealed |= self._wrapped(new_id_hash or id_hash, owned)
        return replace(patch, set=sealed, expect=expected)

    def note_stored(self, patch: Patch, sealed: Patch) -> None:
        """Learn that the store has what `close_patch` made of a patch."""
        for name in patch.remove:
            self._stored.pop(name, None)
        for name, text in self._written(patch).items():
            self._stored[name] = text, sealed.set[name]
        self._plain = {}
        self._wrapping = CURRENT

    def _written(self, patch: Patch) -> Mapping[str, str]:
        if not self._plain:
            return patch.set
        return {name: text for name, text in self._plain.items() if name not in patch.remove} | dict(patch.set)

    def _as_stored(self, name: str, text: str) -> str:
        if self._plain.get(name) == text:
            return text
        known, stored = self._stored.get(name, (None, ""))
        return stored if known == text else self._encrypt(name, text)

    def _encrypt(self, name: str, text: str) -> str:
        return self._cipher.encrypt(text.encode("utf-8", "surrogatepass"), _bytes_of(name))

    def _wrapped(self, id_hash: str, record: Record) -> dict[str, str]:
        return {DATA_KEY_FIELD: self._keyring.encrypt(self._data_key, bound_to(id_hash, record))}


class SealedCodec:
    """The app's codec, which never sees a text that could not be decrypted."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.encode = codec.encode
        self.encode_typed = codec.encode_typed
        self.immutable_types: Collection[type] = codec.immutable_types

    @overload
    def decode(self, text: str) -> Any: ...
    @overload
    def decode(self, text: str, type: type[T]) -> T: ...
    def decode(self, text: str, type: Any = None) -> Any:
        """Return the value, as the app's codec does.

        :raises DecodeError: the text could not be decrypted, or the codec cannot read it.
        """
        if text.startswith(_UNREADABLE):
            raise DecodeError("the stored text cannot be decrypted: somebody changed it, or it belongs elsewhere")
        return self._codec.decode(text) if type is None else self._codec.decode(text, type)


def _bytes_of(name: str) -> bytes:
    # A store that was tampered with may hold any name.
    return name.encode("utf-8", "surrogatepass")
