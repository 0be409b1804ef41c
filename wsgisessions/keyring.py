"""The app's secret keys: checked, derived for one purpose each, and encrypting under several at once."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Any

from .errors import ConfigurationError

SecretKeys = Sequence[str | bytes]
"""The first one signs or encrypts; all are tried on what comes back, so a key is replaced without a logout."""

_SHORTEST = 32
_FEWEST_CHARACTERS = 5
_KEY_BYTES = 32

VERSION = b"\x01"
"""The first byte of what `Cipher` encrypts. Another layout of the bytes, or another algorithm, gets another one."""

_NONCE_BYTES = 12
_CLEAR_BYTES = len(VERSION) + _NONCE_BYTES
_TAG_BYTES = 16

_GOOD_KEY = 'this makes a good one: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def are_given(keys: SecretKeys) -> bool:
    """Tell whether the option is not left at its default, `()`.

    An empty list is no such default: it is what a configuration that was not read looks like.
    """
    return not isinstance(keys, tuple) or len(keys) > 0


def check_secret_keys(option: str, keys: Any) -> list[bytes]:
    """Return secret keys as bytes.

    :raises ConfigurationError: it is no list of keys, it is an empty one, or a key in it is easy to guess.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        raise ConfigurationError(f"{option} is a list of keys, the newest first: {option}=[new, old]")
    if not keys:
        raise ConfigurationError(
            f"{option} holds no key, as where a configuration was not read; to do without, leave the option out."
            f" Otherwise {_GOOD_KEY}"
        )
    return [_checked(key, f"number {number} of {option}") for number, key in enumerate(keys, 1)]


def _checked(key: Any, which: str) -> bytes:
    if not isinstance(key, str | bytes):
        raise _refused(which, f"a {type(key).__name__}")
    try:
        data = key.encode() if isinstance(key, str) else key
    except UnicodeEncodeError:
        raise _refused(which, "text with a lone surrogate") from None  # the cause would quote the key
    if len(key) < _SHORTEST:
        raise _refused(which, f"{len(key)} characters")
    if len(set(key)) < _FEWEST_CHARACTERS:
        raise _refused(which, f"{len(key)} characters of which {len(set(key))} differ")
    encoded = _readable_base64(data)
    if encoded is not None and len(encoded) < _SHORTEST:
        raise _refused(which, f"base64 of a text of {len(encoded)} characters, which is no harder to guess than that")
    return data


def _refused(which: str, got: str) -> ConfigurationError:
    return ConfigurationError(
        f"a secret key is a str or bytes of {_SHORTEST} random characters or more, and {which} is {got}; {_GOOD_KEY}"
    )


def _readable_base64(data: bytes) -> bytes | None:
    """Return the readable text that somebody has encoded, or None; random bytes are not readable."""
    try:
        decoded = base64.b64decode(data.translate(_TO_STANDARD), validate=True)
    except ValueError:
        return None
    return decoded if all(0x20 <= byte < 0x7F for byte in decoded) else None


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")


def encode_base64(data: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode_base64(text: str) -> bytes | None:
    """Return what `encode_base64` encoded, or None.

    The last character has bits that say nothing. A text with others there is refused, or one cookie would
    have several forms.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def is_encrypted(text: str) -> bool:
    """Tell whether a text has the form of one that `Cipher` encrypted."""
    data = decode_base64(text)
    return data is not None and len(data) >= _CLEAR_BYTES + _TAG_BYTES and data.startswith(VERSION)


class Cipher:
    """AES-256-GCM with random nonces, as texts of URL-safe base64; docs/security.md has the layout.

    :param key: 32 bytes.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead: Any = _import_crypto("encryption").AESGCM(key)

    def encrypt(self, data: bytes, context: bytes) -> str:
        """Return the encrypted data; only under the same context can it be decrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        return encode_base64(VERSION + nonce + self._aead.encrypt(nonce, data, context))

    def decrypt(self, text: str, context: bytes) -> bytes | None:
        """Return what was encrypted, or None: another key or context, or not a byte as it was."""
        from cryptography.exceptions import InvalidTag

        sealed = decode_base64(text)
        if sealed is None or not sealed.startswith(VERSION):
            return None
        nonce, encrypted = sealed[len(VERSION) : _CLEAR_BYTES], sealed[_CLEAR_BYTES:]
        try:
            data: bytes = self._aead.decrypt(nonce, encrypted, context)
        except (InvalidTag, ValueError):
            return None
        return data


class Keyring:
    """Ciphers of several keys: the first encrypts, all decrypt.

    :param option: what the app calls the keys.
    :param purpose: what the ciphers are for; the same secret keys make other ones for another purpose.
    :raises ConfigurationError: a key is too short, or `cryptography` is not installed.
    """

    def __init__(self, option: str, secret_keys: SecretKeys, purpose: str) -> None:
        keys = check_secret_keys(option, secret_keys)
        _import_crypto(option)
        self._ciphers = [Cipher(_derive_key(key, purpose)) for key in keys]

    def encrypt(self, data: bytes, context: bytes) -> str:
        """Return the data encrypted under the first key."""
        return self._ciphers[0].encrypt(data, context)

    def decrypt(self, text: str, context: bytes) -> tuple[bytes, bool] | None:
        """Return what was encrypted and whether under an old key, or None if no key fits."""
        for number, cipher in enumerate(self._ciphers):
            data = cipher.decrypt(text, context)
            if data is not None:
                return data, number > 0
        return None


def _import_crypto(option: str) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        raise ConfigurationError(f"{option} needs cryptography: pip install 'wsgisessions[crypto]'") from error
    return aead


def _derive_key(secret_key: bytes, purpose: str) -> bytes:
    """Return a key of 256 bits for one purpose (HKDF, RFC 5869); those for others tell nothing of it."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"wsgisessions {purpose}".encode()).derive(secret_key)
