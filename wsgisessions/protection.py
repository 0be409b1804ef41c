"""Session IDs on their way through the client: as they are, signed, or encrypted.

An ID is unguessable by itself. Protection keeps forged ones from costing a look into the store, and
makes every session cookie worthless at once when its key is withdrawn.
"""

from __future__ import annotations

import hashlib
import re
from typing import Protocol

from .encryption import Keyring
from .errors import ConfigurationError
from .identifiers import is_session_id
from .secret_keys import SecretKeys, check_secret_keys


class Protection(Protocol):
    """How an ID is written for the client."""

    def protect(self, session_id: str) -> str:
        """Return what the client is given."""
        ...

    def reveal(self, text: str) -> tuple[str, bool] | None:
        """Return the ID, and whether it is to be written anew; None for a forged one."""
        ...


class Signed:
    """`<ID>.<HMAC-SHA-256>`, by itsdangerous: whoever reads the cookie sees the ID, nobody else can make one.

    :param name: the cookie's name; a signature for one cookie is none for another.
    """

    def __init__(self, keys: SecretKeys, name: str) -> None:
        checked = check_secret_keys("signing_keys", keys)
        try:
            from itsdangerous import BadSignature, Signer
        except ImportError as error:
            raise ConfigurationError("signing_keys needs itsdangerous: pip install 'wsgisessions[crypto]'") from error
        # itsdangerous takes the oldest first.
        salt = f"wsgisessions cookie {name}".encode()
        self._signer = Signer(checked[::-1], salt=salt, key_derivation="hmac", digest_method=hashlib.sha256)
        self._bad_signature = BadSignature

    def protect(self, session_id: str) -> str:
        """Return the signed ID."""
        return self._signer.sign(session_id).decode()

    def reveal(self, text: str) -> tuple[str, bool] | None:
        """Return the ID if the signature is by one of the keys."""
        try:
            session_id = self._signer.unsign(text).decode()
        except (self._bad_signature, UnicodeError):
            return None
        return session_id, self.protect(session_id) != text


class Encrypted:
    """AES-256-GCM: the cookie shows nothing of the ID.

    :param name: the cookie's name; what was encrypted for one cookie is nothing to another.
    """

    def __init__(self, keys: SecretKeys, name: str) -> None:
        self._keyring = Keyring("encryption_keys", keys, "session cookie")
        self._context = name.encode()

    def protect(self, session_id: str) -> str:
        """Return the encrypted ID."""
        return self._keyring.encrypt(session_id.encode(), self._context)

    def reveal(self, text: str) -> tuple[str, bool] | None:
        """Return the ID if one of the keys encrypted it."""
        decrypted = self._keyring.decrypt(text, self._context)
        return None if decrypted is None else (decrypted[0].decode("latin-1"), decrypted[1])


_PLAUSIBLE = re.compile(r"[A-Za-z0-9_.-]{60,100}", re.ASCII).fullmatch
_MOST_ATTEMPTS = 3


def reveal_all(protection: Protection, texts: list[str]) -> list[tuple[str, bool]]:
    """Return the IDs in the first plausible texts; an empty one stands for each that holds none.

    A client can send any number of cookies, and each attempt costs a computation.
    """
    plausible = [text for text in texts if _PLAUSIBLE(text)][:_MOST_ATTEMPTS]
    revealed = [protection.reveal(text) for text in plausible]
    found = [each for each in revealed if each is not None and is_session_id(each[0])]
    return found or ([("", False)] if texts else [])
