"""The mark that stands for ten seconds at an ID that a session no longer has.

A request that was under way when a parallel one changed the ID presents the old one. The mark tells it so:
without one it would take the session for gone, and its response would undo the login that changed the ID.

Ten seconds are longer than a request that is under way, and shorter than a visitor's second try. The mark
stands under a hash of its own, so the old ID hash itself is absent to every method of every store. It has no
owner, so it makes nobody signed in. A login of a visitor who was not signed in leaves in it what the session
held before, which the second of two clicks reads and takes along; every other mark is empty.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from .errors import StoreError
from .loading import MARK_LIFETIME, load_mark
from .options import Settings
from .record import Outcome, Patch, Record
from .reserved_fields import MOVED_FIELD
from .session_ids import SessionID, moved_hash

_WAIT_FOR_CLAIM = 0.05

_MARKED = '"marked"'
_CLAIMED = '"claimed"'

_logger = logging.getLogger("wsgisessions")


def leave_mark(settings: Settings, session_id: SessionID, fields: Mapping[str, str]) -> bool:
    """Mark an ID as moved, with what the session held before; False if a parallel request has done so. One create."""
    id_hash = moved_hash(session_id.id_hash)
    now = settings.clock()
    mark = Record({**fields, MOVED_FIELD: _MARKED}, now, now, now + MARK_LIFETIME)
    if settings.encryption is not None:
        mark = settings.encryption.new_seal().close(id_hash, mark)
    return settings.store.create(id_hash, mark)


def take_back_mark(settings: Settings, session_id: SessionID) -> None:
    """Remove a mark of a session that has not moved after all. One delete; a failure is logged."""
    try:
        settings.store.delete(moved_hash(session_id.id_hash))
    except StoreError:
        _logger.warning(
            "the mark of a session that did not move could not be removed; it ends by itself", exc_info=True
        )


def claim_mark(settings: Settings, session_id: SessionID, fields: Mapping[str, str]) -> None:
    """Say that the session has moved by this request, although another one left the mark. One update.

    Of two requests that change an ID at once, one leaves the mark, and the other may be the one that moves
    the session. The first learns by this that the session was not ended. If it has taken its mark back, a
    new one is left. A failure is logged: the session has moved, and its client is told.
    """
    try:
        _claim_mark(settings, session_id, fields)
    except StoreError:
        _logger.warning("the mark of a session that has moved could not be claimed; it ends by itself", exc_info=True)


def _claim_mark(settings: Settings, session_id: SessionID, fields: Mapping[str, str]) -> None:
    id_hash = moved_hash(session_id.id_hash)
    patch = Patch(set={MOVED_FIELD: _CLAIMED})
    if settings.encryption is not None:
        mark = settings.store.load(id_hash)
        seal = None if mark is None else settings.encryption.find_seal(id_hash, mark)
        if mark is not None and seal is not None:
            patch = seal.close_patch(id_hash, seal.open(mark), patch)
    if settings.store.update(id_hash, patch) is Outcome.GONE:
        leave_mark(settings, session_id, fields)


def is_claimed(settings: Settings, session_id: SessionID) -> bool:
    """Tell whether the session that this request has marked was moved by another. One load, or two."""
    for is_last in (False, True):
        mark = load_mark(settings, session_id)
        if mark is not None and mark.fields.get(MOVED_FIELD) == _CLAIMED:
            return True
        if not is_last:
            # The other request tells so right after it has moved the session.
            time.sleep(_WAIT_FOR_CLAIM)
    return False
