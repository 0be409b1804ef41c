"""Texts encrypted at rest: what lies in the store tells nothing, and cannot be moved about in it.

Each session has a data key of its own. The texts are encrypted under it, each bound to the name of its
field. The data key lies beside them, encrypted under the app's secret key and bound to the ID hash. So a
text that somebody moves to another field or another session is refused, a new session ID costs one small
field, and a new secret key needs no text written anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec.structs import replace

from .codec import JSONCodec
from .errors import ConfigurationError
from .keyring import Cipher, Keyring, SecretKeys
from .record import Patch, Record
from .reserved_fields import DATA_KEY_FIELD

_DATA_KEY_BYTES = 32
_UNREADABLE = "!"
"""Starts what a text that cannot be decrypted is replaced by. No JSON does, so reading the key raises `DecodeError`."""


class EncryptedCodec(JSONCodec):
    """JSON, encrypted at rest by AES-256-GCM, with session and field bound in.

    Names of fields, times and the owner stay readable for the store. A session that was stored under none of
    the keys, or without encryption, is a new one, with a warning in the log; a single value that was tampered
    with raises `DecodeError` when it is read.

    :param keys: secret keys, the newest first, each a str or bytes of 32 characters or more. The first
        encrypts, all decrypt; the data key of a session is encrypted under the first key at its next write.
    :param allow_nan: as for `JSONCodec`.
    :raises ConfigurationError: there is no key, or one is too short, or `cryptography` is not installed.
    """

    def __init__(self, keys: SecretKeys, *, allow_nan: bool = False) -> None:
        super().__init__(allow_nan=allow_nan)
        if not keys:
            raise ConfigurationError("EncryptedCodec needs a key: EncryptedCodec([key])")
        self._keyring = Keyring("keys", keys, "values at rest")

    def new_seal(self) -> Seal:
        """Return the seal of a session that begins."""
        return Seal(self._keyring, os.urandom(_DATA_KEY_BYTES))

    def find_seal(self, id_hash: str, record: Record) -> Seal | None:
        """Return the seal of a stored session, or None if it is not encrypted for this place by one of the keys."""
        data_key = self._keyring.decrypt(record.fields.get(DATA_KEY_FIELD, ""), id_hash.encode())
        return None if data_key is None else Seal(self._keyring, *data_key)


class Seal:
    """The encryption of one session, as one request knows it."""

    __slots__ = ("_cipher", "_data_key", "_is_outdated", "_keyring", "_sealed")

    def __init__(self, keyring: Keyring, data_key: bytes, is_outdated: bool = False) -> None:
        self._keyring = keyring
        self._data_key = data_key
        self._is_outdated = is_outdated
        self._cipher = Cipher(data_key)
        self._sealed: dict[tuple[str, str], str] = {}

    def open(self, record: Record) -> Record:
        """Return the record with its texts decrypted."""
        fields = {name: self._open(name, text) for name, text in record.fields.items() if name != DATA_KEY_FIELD}
        return replace(record, fields=fields)

    def close(self, id_hash: str, record: Record) -> Record:
        """Return the record with its texts encrypted, for the session of an ID hash."""
        return replace(record, fields=self._close(record.fields) | self._wrapped(id_hash))

    def close_patch(self, id_hash: str, new_id_hash: str | None, patch: Patch) -> Patch:
        """Return the patch with its texts encrypted; `new_id_hash` is where the session moves, if it does."""
        # The very text that was loaded is expected; a second encryption of it would be another.
        expect = {name: None if text is None else self._sealed_text(name, text) for name, text in patch.expect.items()}
        texts = self._close(patch.set)
        if new_id_hash is not None or self._is_outdated:
            texts |= self._wrapped(new_id_hash or id_hash)
        return replace(patch, set=texts, expect=expect)

    def _open(self, name: str, text: str) -> str:
        data = self._cipher.decrypt(text, name.encode())
        plain = _UNREADABLE + text if data is None else data.decode()
        self._sealed[name, plain] = text
        return plain

    def _close(self, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self._sealed_text(name, text) for name, text in texts.items()}

    def _sealed_text(self, name: str, text: str) -> str:
        sealed = self._sealed.get((name, text))
        if sealed is None:
            sealed = self._sealed[name, text] = self._cipher.encrypt(text.encode(), name.encode())
        return sealed

    def _wrapped(self, id_hash: str) -> dict[str, str]:
        return {DATA_KEY_FIELD: self._keyring.encrypt(self._data_key, id_hash.encode())}
