"""The app's secret keys at work: derived for one purpose each, encrypting, and several tried at once."""

from __future__ import annotations

import binascii
import os
from functools import cache
from typing import Any

from .errors import ConfigurationError
from .secret_keys import SecretKeys, check_secret_keys

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")

_KEY_BYTES = 32

VERSION = b"\x01"
"""The first byte of what `Cipher` encrypts. Another layout of the bytes, or another algorithm, gets another one."""

_NONCE_BYTES = 12
_CLEAR_BYTES = len(VERSION) + _NONCE_BYTES
_TAG_BYTES = 16


def encode_base64(data: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL_SAFE).rstrip(b"=").decode()


def decode_base64(text: str) -> bytes | None:
    """Return what `encode_base64` encoded, or None.

    The last character has bits that say nothing, and binascii passes over what is no base64. A text with
    either is refused, or one cookie would have several forms.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + b"=" * (-len(text) % 4))
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

    __slots__ = ("_aead", "_invalid_tag")

    def __init__(self, key: bytes) -> None:
        make, self._invalid_tag = _aes_gcm()
        self._aead: Any = make(key)

    def encrypt(self, data: bytes, context: bytes) -> str:
        """Return the encrypted data; only under the same context can it be decrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        return encode_base64(VERSION + nonce + self._aead.encrypt(nonce, data, context))

    def decrypt(self, text: str, context: bytes) -> bytes | None:
        """Return what was encrypted, or None: another key or context, or not a byte as it was."""
        sealed = decode_base64(text)
        if sealed is None or not sealed.startswith(VERSION):
            return None
        nonce, encrypted = sealed[len(VERSION) : _CLEAR_BYTES], sealed[_CLEAR_BYTES:]
        try:
            data: bytes = self._aead.decrypt(nonce, encrypted, context)
        except (self._invalid_tag, ValueError):
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
        _require_crypto(option)
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


def _require_crypto(option: str) -> None:
    try:
        _aes_gcm()
    except ImportError as error:
        raise ConfigurationError(f"{option} needs cryptography: pip install 'wsgisessions[crypto]'") from error


@cache
def _aes_gcm() -> tuple[Any, type[Exception]]:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM, InvalidTag


def _derive_key(secret_key: bytes, purpose: str) -> bytes:
    """Return a key of 256 bits for one purpose (HKDF, RFC 5869); those for others tell nothing of it."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"wsgisessions {purpose}".encode()).derive(secret_key)
