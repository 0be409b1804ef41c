"""Authenticated encryption of short texts by AES-256-GCM, under several keys at once."""

from __future__ import annotations

import base64
import os
from typing import Any

from .secret_keys import SecretKeys, check_secret_keys, derive_key, import_crypto

_NONCE_BYTES = 12


class Cipher:
    """AES-256-GCM with random nonces, as texts of URL-safe base64.

    :param key: 32 bytes.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead: Any = import_crypto("encryption").AESGCM(key)

    def encrypt(self, data: bytes, context: bytes) -> str:
        """Return the encrypted data; only under the same context can it be decrypted."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._aead.encrypt(nonce, data, context)).decode().rstrip("=")

    def decrypt(self, text: str, context: bytes) -> bytes | None:
        """Return what was encrypted, or None: another key or context, or not a byte as it was."""
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            data: bytes = self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            return None
        return data


class Keyring:
    """Ciphers of several keys: the first encrypts, all decrypt.

    :param option: what the app calls the keys.
    :param purpose: what the ciphers are for; the same secret keys make other ones for another purpose.
    """

    def __init__(self, option: str, secret_keys: SecretKeys, purpose: str) -> None:
        keys = check_secret_keys(option, secret_keys)
        import_crypto(option)
        self._ciphers = [Cipher(derive_key(key, purpose)) for key in keys]

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
