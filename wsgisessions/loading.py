"""Finding the session that a client presents, or the mark that says that it has moved."""

from __future__ import annotations

import logging
from datetime import timedelta

from .options import Settings
from .record import Record
from .request_state import Exchange, RequestSession, stored_expiry
from .reserved_fields import DATA_KEY_FIELD
from .seal import Seal
from .session_ids import SessionID, moved_hash
from .states import MALFORMED
from .transports import MOST_TRIED

MARK_LIFETIME = timedelta(seconds=10)

_logger = logging.getLogger("wsgisessions")


def load(exchange: Exchange, current: RequestSession) -> None:
    """Find the session, one round trip for each ID that is tried; where none is live, one more for each one's mark.

    :raises StoreError: the store failed.
    """
    settings = exchange.settings
    tried = current.candidates[:MOST_TRIED]
    for session_id in tried:
        record = settings.store.load(session_id.id_hash)
        if record is None:
            continue
        if settings.encryption is None and DATA_KEY_FIELD not in record.fields:
            current.become_stored(session_id, record, None)
            return
        opened = open_record(settings, session_id.id_hash, record)
        if opened is None:
            _tell_why_ignored(settings, record)
        elif not _is_over(settings, opened[0]):
            current.become_stored(session_id, *opened)
            return
    for session_id in tried:
        mark = load_mark(settings, session_id)
        if mark is not None:
            current.become_moved(mark)
            return
    if exchange.must_exist and (tried or current.presented is MALFORMED):
        current.become_gone()
    else:
        current.become_new()


def load_mark(settings: Settings, session_id: SessionID) -> Record | None:
    """Return the mark that a parallel request has left at an ID which it changed, or None. One round trip."""
    id_hash = moved_hash(session_id.id_hash)
    mark = settings.store.load(id_hash)
    opened = None if mark is None else open_record(settings, id_hash, mark)
    if opened is None:
        return None
    # The deadline in the store is not bound by encryption, the creation time is.
    is_over = settings.encryption is not None and opened[0].created_at + MARK_LIFETIME <= settings.clock()
    return None if is_over else opened[0]


def open_record(settings: Settings, id_hash: str, record: Record) -> tuple[Record, Seal | None] | None:
    """Return a stored record with its texts decrypted, and the seal if it has one; None: it is to be ignored."""
    if settings.encryption is None:
        return None if DATA_KEY_FIELD in record.fields else (record, None)
    seal = settings.encryption.find_seal(id_hash, record)
    return None if seal is None else (seal.open(record), seal)


def _is_over(settings: Settings, record: Record) -> bool:
    """Tell whether an encrypted session has reached its absolute limit, whatever deadline its store has.

    Creation time and limit are bound to the session. The deadline is not, so whoever writes to the store can change it.
    """
    now = settings.clock()
    expiry = stored_expiry(record.fields) or settings.expiry
    return expiry.deadline(record.created_at, now) <= now


def _tell_why_ignored(settings: Settings, record: Record) -> None:
    """Say why a stored session cannot be used; once, where a change of the options does that to all of them."""
    if settings.encryption is None:
        settings.warn_once(
            "encrypted",
            "stored sessions are encrypted, and this manager has no keys; they are ignored, and their visitors get new"
            " ones. Give it the keys: encryption_keys=[key]",
        )
    elif DATA_KEY_FIELD not in record.fields:
        settings.warn_once(
            "plain",
            "stored sessions are not encrypted, and this manager has encryption_keys; they are ignored, and their"
            " visitors get new ones. To read them for some days, and encrypt them at their next write, say"
            " read_plain_until=datetime(...)",
        )
    else:
        _logger.warning(
            "a stored session is encrypted by none of the keys, or its ID, owner or creation time was changed in the"
            " store; the visitor gets a new one"
        )
