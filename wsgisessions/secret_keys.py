"""The app's secret keys: what is one, and what is refused as too easy to guess."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from .errors import ConfigurationError

SecretKeys = Sequence[str | bytes]
"""The first one signs or encrypts; all are tried on what comes back, so a key is replaced without a logout."""

_SHORTEST = 32
_FEWEST_CHARACTERS = 5
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
        decoded = base64.b64decode(data.translate(bytes.maketrans(b"-_", b"+/")), validate=True)
    except ValueError:
        return None
    return decoded if all(0x20 <= byte < 0x7F for byte in decoded) else None
