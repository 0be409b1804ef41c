"""Session IDs on their way through the client: signed, or encrypted.

An ID is unguessable by itself. Protection keeps forged ones from costing a look into the store, and
makes every session cookie worthless at once when its key is withdrawn. Under each key an ID has one
protected form (signed) or one that only this side can make (encrypted); any other text is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Protocol

from .errors import ConfigurationError
from .keyring import Keyring
from .secret_keys import SecretKeys, check_secret_keys
from .session_ids import PresentedID, is_well_formed


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
            from itsdangerous import Signer
        except ImportError as error:
            raise ConfigurationError("signing_keys needs itsdangerous: pip install 'wsgisessions[crypto]'") from error
        salt = f"wsgisessions cookie {name}".encode()
        self._signers = [Signer(key, salt=salt, key_derivation="hmac", digest_method=hashlib.sha256) for key in checked]

    def protect(self, session_id: str) -> str:
        """Return the signed ID."""
        return self._signers[0].sign(session_id).decode()

    def reveal(self, text: str) -> tuple[str, bool] | None:
        """Return the ID if the text is the very one that a key makes of it.

        itsdangerous' own check reads several texts as one signature: it ignores base64's unused bits.
        """
        session_id = text.partition(".")[0]
        if not is_well_formed(session_id):
            return None
        for number, signer in enumerate(self._signers):
            if hmac.compare_digest(signer.sign(session_id), text.encode()):
                return session_id, number > 0
        return None


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


def reveal_all(protection: Protection, texts: list[str], limit: int) -> list[PresentedID]:
    """Return the IDs in the first `limit` plausible texts; an empty one if there are texts, but no ID.

    A client can send any number of cookies, and each attempt costs a computation.
    """
    plausible = [text for text in texts if _PLAUSIBLE(text)][:limit]
    revealed = [protection.reveal(text) for text in plausible]
    found = [PresentedID(*each) for each in revealed if each is not None and is_well_formed(each[0])]
    return found or ([PresentedID("")] if texts else [])
