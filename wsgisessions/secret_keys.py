"""Checking the app's secret keys, and deriving from them what a cipher needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import ConfigurationError

SecretKeys = Sequence[str | bytes]
"""The first one signs or encrypts; all are tried on what comes back, so a key is replaced without a logout."""

_SHORTEST = 32
_KEY_BYTES = 32


def check_secret_keys(option: str, keys: Any) -> list[bytes]:
    """Return secret keys as bytes.

    :raises ConfigurationError: it is no list of keys, or one is too short to be secret.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        raise ConfigurationError(f"{option} is a list of keys, the newest first: {option}=[new, old]")
    for number, key in enumerate(keys, 1):
        if not isinstance(key, str | bytes) or len(key) < _SHORTEST:
            got = f"{len(key)} characters" if isinstance(key, str | bytes) else type(key).__name__
            raise ConfigurationError(
                f"a secret key is a str or bytes of {_SHORTEST} characters or more, and number {number} of {option}"
                f' is {got}; this makes a good one: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
    return [key.encode() if isinstance(key, str) else key for key in keys]


def import_crypto(option: str) -> Any:
    """Return the module of authenticated encryption.

    :raises ConfigurationError: it is not installed; the message says how to.
    """
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        raise ConfigurationError(f"{option} needs cryptography: pip install 'wsgisessions[crypto]'") from error
    return aead


def derive_key(secret_key: bytes, purpose: str) -> bytes:
    """Return a key of 256 bits for one purpose (HKDF, RFC 5869); those for others tell nothing of it."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"wsgisessions {purpose}".encode()).derive(secret_key)
