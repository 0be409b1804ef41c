"""Texts encrypted at rest: which sessions the app's keys open.

What lies in the store tells nothing, and cannot be moved about in it; seal.py says how. Encryption is below
the codec, so whatever the codec makes is encrypted.
"""

from __future__ import annotations

import os
from datetime import datetime

from .errors import ConfigurationError
from .keyring import Keyring
from .record import Clock, Record
from .reserved_fields import DATA_KEY_FIELD
from .seal import CURRENT, MISSING, OUTDATED, Seal, bound_to
from .secret_keys import SecretKeys, are_given

_DATA_KEY_BYTES = 32


class Encryption:
    """The app's keys for values at rest.

    :param keys: the newest first. The first encrypts, all decrypt.
    :param read_plain_until: until when a session that is stored in plain is read, and encrypted by its next
        write; never, if None.
    :param clock: the present as an aware UTC datetime.
    :raises ConfigurationError: a key is easy to guess, the instant has no time zone, or `cryptography` is not
        installed.
    """

    def __init__(self, keys: SecretKeys, read_plain_until: datetime | None, clock: Clock) -> None:
        if read_plain_until is not None:
            _check_instant(read_plain_until)
        self._keyring = Keyring("encryption_keys", keys, "values at rest")
        self._read_plain_until = read_plain_until
        self._clock = clock

    def new_seal(self) -> Seal:
        """Return the seal of a session that begins."""
        return Seal(self._keyring, os.urandom(_DATA_KEY_BYTES))

    def find_seal(self, id_hash: str, record: Record) -> Seal | None:
        """Return the seal of a stored session, or None if the session is to be ignored.

        It is ignored if no key decrypts it, if it was encrypted for another ID, owner or creation time, or if
        it is stored in plain and may not be read so.
        """
        reads_plain = self._read_plain_until is not None and self._clock() < self._read_plain_until
        wrapped = record.fields.get(DATA_KEY_FIELD)
        if wrapped is None:
            if not reads_plain:
                return None
            return Seal(self._keyring, os.urandom(_DATA_KEY_BYTES), MISSING, reads_plain=True)
        unwrapped = self._keyring.decrypt(wrapped, bound_to(id_hash, record))
        if unwrapped is None:
            return None
        data_key, is_outdated = unwrapped
        return Seal(self._keyring, data_key, OUTDATED if is_outdated else CURRENT, reads_plain=reads_plain)


def encryption_of(keys: SecretKeys, read_plain_until: datetime | None, clock: Clock) -> Encryption | None:
    """Return what the options ask for; `()` is no encryption.

    :raises ConfigurationError: an option makes no sense.
    """
    if are_given(keys):
        return Encryption(keys, read_plain_until, clock)
    if read_plain_until is not None:
        raise ConfigurationError("read_plain_until is for encryption_keys=[...], which are not given")
    return None


def _check_instant(instant: object) -> None:
    if not isinstance(instant, datetime) or instant.utcoffset() is None:
        raise ConfigurationError(
            f"read_plain_until is an aware datetime, such as datetime(2030, 1, 1, tzinfo=timezone.utc); got a"
            f" {'naive ' if isinstance(instant, datetime) else ''}{type(instant).__name__}"
        )
