"""Committing a session: what is known of the request, and what was decided, carried out step by step."""

from __future__ import annotations

import logging
from datetime import datetime

from msgspec.structs import replace

from .changes import Difference
from .conflicts import Applied, apply_patch, check_size
from .decision import (
    CHANGED,
    DELETE,
    DELETE_ONLY,
    EMPTIED,
    EXPIRY,
    FAILED,
    INTERRUPT,
    LOGIN,
    NEW_ID,
    NOTHING_ASKED,
    SUCCEEDED,
    UNCHANGED,
    UNDELIVERABLE,
    Decision,
    Known,
    Result,
    Step,
    decide,
)
from .errors import SessionInterrupted
from .expiry import dump_expiry
from .loading import load, load_mark
from .moved_marks import claim_mark, is_claimed, leave_mark, take_back_mark
from .options import Settings
from .owner_sessions import end_oldest
from .owners import app_owner
from .record import DONE, GONE, Patch, Record
from .request_state import Exchange, RequestSession, Stored
from .reserved_fields import CLIENT_FIELD, EXPIRY_FIELD
from .session_ids import SessionID
from .session_info import client_of, dump_client
from .states import ISSUED, NOTHING_TOLD, REMOVED, UNLOADED, WAITING, WELL_FORMED, Told
from .surrogates import has_lone_surrogate
from .transports import MOST_TRIED
from .unsaved import tell_dropped

_LEAVE_MARK, _DELETE, _CREATE, _UPDATE, _RENAME, _TOUCH, _DELETE_IF_EMPTY = Step

_logger = logging.getLogger("wsgisessions")


def commit(exchange: Exchange, result: Result = SUCCEEDED) -> Told:
    """Write what changed in a session, and return what the client must be told.

    :raises SessionConflict: another request changed a guarded key meanwhile.
    :raises SessionInterrupted: the session that was read is gone, or has moved.
    :raises SessionTooLarge: it would exceed `max_bytes`.
    :raises EncodeError: a nested value can no longer be encoded.
    :raises LockLost: the lease of `session.lock()` ran out.
    :raises StoreError: the store failed.
    """
    current = exchange.current
    if current is None:
        return NOTHING_TOLD
    with current.lock:
        if result is not SUCCEEDED:
            _drop_changes(current, result)
        if current.state is UNLOADED or current.new_expiry is not None:
            _know_what_changed(exchange, current)
        changes = current.changes
        difference = changes.difference() if changes.assigned or changes.removed or changes.live else None
        decision = decide(_known(exchange, current, difference, result))
        if decision.steps:
            _carry_out(exchange, current, decision, difference or Difference({}))
        if decision is INTERRUPT:
            raise _interrupted()
        if decision is UNDELIVERABLE or decision is DELETE_ONLY:
            exchange.require_delivery("starting a new session")
        return current.told


def would_write(exchange: Exchange) -> bool:
    """Tell whether a commit now would write. Loads the session if something was written without a look inside.

    :raises EncodeError: a nested value can no longer be encoded.
    :raises StoreError: the load failed.
    """
    current = exchange.current
    if current is None:
        return False
    with current.lock:
        _know_what_changed(exchange, current)
        known = _known(exchange, current, current.changes.difference(), SUCCEEDED)
        return bool(decide(known).steps)


def _know_what_changed(exchange: Exchange, current: RequestSession) -> None:
    if current.state is UNLOADED and current.may_have_changed:
        load(exchange, current)
    current.ask_expiry(current.new_expiry, exchange.settings.expiry)


def _drop_changes(current: RequestSession, result: Result) -> None:
    keeps_id_change = current.changes_id and result is FAILED
    if keeps_id_change:
        current.changes_id = False
    tell_dropped(current)
    current.undo()
    current.changes_id = keeps_id_change


def _known(exchange: Exchange, current: RequestSession, difference: Difference | None, result: Result) -> Known:
    change = UNCHANGED
    if difference is not None:
        is_emptied = not difference.set and current.owner is None and current.changes.is_empty()
        change = EMPTIED if is_emptied else CHANGED
    asked = NOTHING_ASKED
    if current.new_owner is not None:
        asked = LOGIN
    elif current.changes_id:
        asked = NEW_ID
    elif current.new_expiry is not None:
        asked = EXPIRY
    is_touch_due = (
        difference is None
        and current.stored is not None
        and current.renews_on_read
        and _new_deadline(exchange, current, current.stored.record) is not None
    )
    presented = WELL_FORMED if current.ended else current.presented
    return Known(current.state, presented, current.ending, change, asked, result, exchange.phase, is_touch_due)


def _carry_out(exchange: Exchange, current: RequestSession, decision: Decision, difference: Difference) -> None:
    """Give the store its commands, in the order of the decision."""
    settings = exchange.settings
    is_marked_here = False
    if _DELETE in decision.steps and _CREATE in decision.steps:
        check_size(settings, current.changes.texts())  # before the old session goes
    for step in decision.steps:
        if step is _UPDATE:
            _update(exchange, current, difference)
        elif step is _CREATE:
            _create(exchange, current)
        elif step is _TOUCH:
            _touch(exchange, current, difference)
        elif step is _LEAVE_MARK:
            is_marked_here = _leave_marks(settings, current)
        elif step is _RENAME:
            _rename(exchange, current, difference, is_marked_here)
        elif step is _DELETE:
            _delete_ended(settings, current)
        else:
            _delete_if_empty(settings, current)
    if decision is DELETE:
        current.told = REMOVED


def _delete_ended(settings: Settings, current: RequestSession) -> None:
    while current.ended:
        settings.store.delete(current.ended[-1].id_hash)
        current.ended.pop()
    if current.lost_owner and current.new_owner is None and current.changes.assigned:
        settings.warn_once(
            "lost owner",
            "session.clear() ended a session that had an owner, and what was written afterwards started one without:"
            " the visitor is signed out. To change the ID and keep the session, call session.cycle_id(); to sign in"
            " again, session.login(owner)",
        )
    current.forget_ending()
    current.candidates = []
    current.has_saved = True


def _leave_marks(settings: Settings, current: RequestSession) -> bool:
    """Mark the IDs that are about to be no more; tell whether no parallel request had done so."""
    if current.stored is not None:
        return leave_mark(settings, current.stored.session_id, _left_behind(current, current.stored))
    dead = current.ended or current.candidates
    were_left = [leave_mark(settings, session_id, {}) for session_id in dead[:MOST_TRIED]]
    return all(were_left)


def _left_behind(current: RequestSession, stored: Stored) -> dict[str, str]:
    """Return what a mark holds: before the login of a visitor who was not signed in, the texts as they were."""
    is_first_login = current.new_owner is not None and stored.record.owner is None
    if not is_first_login:
        return {}
    return {name: text for name, text in current.changes.base.items() if not has_lone_surrogate(text)}


def _create(exchange: Exchange, current: RequestSession) -> None:
    settings = exchange.settings
    texts = current.changes.texts()
    check_size(settings, texts)
    now = settings.clock()
    deadline = (current.expiry or settings.expiry).deadline(now, now)
    record = Record({**texts, **_own_fields(exchange, current)}, now, now, deadline, current.new_owner)
    seal = None if settings.encryption is None else settings.encryption.new_seal()
    while True:
        session_id = SessionID.new(settings.namespace)
        sealed = record if seal is None else seal.close(session_id.id_hash, record)
        if settings.store.create(session_id.id_hash, sealed):
            break
    stored = Stored(session_id, record, seal)
    current.candidates = []
    current.own_fields = {}
    current.settle(stored, record.fields)
    current.told = ISSUED
    if record.owner is not None:
        end_oldest(settings, record.owner, stored)


def _update(exchange: Exchange, current: RequestSession, difference: Difference) -> None:
    settings = exchange.settings
    stored = _require_stored(current)
    applied = _apply(exchange, current, stored, difference, None)
    if applied.outcome is GONE:
        _meet_end(exchange, current, stored, difference, applied.patch)
    elif applied.merged and current.owner is None and current.changes.is_empty():
        _delete_if_empty(settings, current)


def _touch(exchange: Exchange, current: RequestSession, difference: Difference) -> None:
    """Put the session's end off. What only reads need not fail for that: a later request does it."""
    try:
        _apply(exchange, current, _require_stored(current), difference, None)
    except Exception as error:
        _logger.warning("a session was read, but its end could not be put off: %s", error)


def _rename(exchange: Exchange, current: RequestSession, difference: Difference, is_marked_here: bool) -> None:
    settings = exchange.settings
    stored = _require_stored(current)
    left_behind = _left_behind(current, stored)
    new_owner = current.new_owner
    try:
        applied = _apply(exchange, current, stored, difference, SessionID.new(settings.namespace))
    except BaseException:
        if is_marked_here:
            take_back_mark(settings, stored.session_id)
        raise
    if applied.outcome is DONE:
        if not is_marked_here:
            claim_mark(settings, stored.session_id, left_behind)
        if new_owner is not None:
            end_oldest(settings, new_owner, _require_stored(current))
    elif new_owner is not None:
        # A double click: this login is one beside the other, with the same cart. If nobody has moved the session,
        # it was ended, and nothing of it lives on.
        has_moved = not is_marked_here or is_claimed(settings, stored.session_id)
        if has_moved:
            current.lose_id()
        elif exchange.must_exist:
            raise _interrupted()
        else:
            current.become_new()
        _create(exchange, current)
    elif difference.set or difference.remove or current.new_expiry is not None:
        raise _interrupted()
    else:
        # The second of two cycle_id() at once: the ID has changed.
        current.changes_id = False
        current.lose_id()


def _meet_end(
    exchange: Exchange, current: RequestSession, stored: Stored, difference: Difference, patch: Patch
) -> None:
    """Go on where the store has the session no more."""
    is_known = current.was_read or exchange.must_exist
    asks_for_more = bool(difference.set) or current.new_expiry is not None
    if (is_known and asks_for_more) or load_mark(exchange.settings, stored.session_id) is not None:
        raise _interrupted()
    if is_known:
        # Two pages that show one message both remove the last key, which ends the session.
        current.lose(patch.applied_to(current.changes.base))
        return
    current.become_new()
    if current.changes.assigned:
        exchange.require_delivery("starting a new session")
        _create(exchange, current)


def _apply(
    exchange: Exchange, current: RequestSession, stored: Stored, difference: Difference, new_id: SessionID | None
) -> Applied:
    """Apply what changed as one patch, and move the session to a new ID if there is one."""
    settings = exchange.settings
    changes, new_expiry, new_owner = current.changes, current.new_expiry, current.new_owner
    expires_at = _new_deadline(exchange, current, stored.record)
    asks = new_owner is not None or new_expiry is not None
    if settings.max_bytes is not None and (difference.set or difference.remove):
        check_size(settings, changes.texts())
    patch = Patch(
        {**difference.set, **_own_fields(exchange, current)} if asks else difference.set,
        difference.remove,
        {} if settings.is_guarded is None else changes.expectations(difference, settings.is_guarded),
        expires_at,
        new_owner,
        None if current.held_lock is None else current.held_lock.token,
    )
    applied = apply_patch(settings, stored, patch, None if new_id is None else new_id.id_hash)
    if applied.outcome is not DONE:
        return applied
    fields = applied.patch.applied_to(changes.base)
    record = stored.record
    if expires_at is not None:
        record = replace(record, expires_at=expires_at, touched_at=settings.clock())
    if new_owner is not None:
        record = replace(record, owner=new_owner)
    new_stored = Stored(new_id or stored.session_id, record, applied.seal)
    current.settle(new_stored, fields, applied.merged)
    if new_id is not None or new_expiry is not None or (expires_at is not None and _outlives(settings, current)):
        current.told = ISSUED
    return applied


def _delete_if_empty(settings: Settings, current: RequestSession) -> None:
    # Another request may be filling it: the store looks once more, in the statement that deletes.
    stored = current.stored
    if stored is not None and settings.store.delete(stored.session_id.id_hash, if_empty=True):
        current.candidates = []
        current.become_new()
        current.told = REMOVED


def _own_fields(exchange: Exchange, current: RequestSession) -> dict[str, str]:
    """Return the reserved fields that the session is to have."""
    settings = exchange.settings
    fields: dict[str, str] = {}
    if current.expiry is not None:
        fields[EXPIRY_FIELD] = dump_expiry(current.expiry)
    if current.new_owner is not None and settings.keep_client is not None:
        owner = app_owner(current.new_owner, settings.namespace)
        fields[CLIENT_FIELD] = dump_client(client_of(exchange.environ), settings.keep_client, owner)
    return fields


def _outlives(settings: Settings, current: RequestSession) -> bool:
    return (current.expiry or settings.expiry).outlives_browser


def _new_deadline(exchange: Exchange, current: RequestSession, record: Record) -> datetime | None:
    """Return the deadline to set, or None while the record's is good enough."""
    settings = exchange.settings
    expiry, now = current.new_expiry or current.own_expiry or settings.expiry, settings.clock()
    if current.new_expiry is not None:
        return expiry.deadline(record.created_at, now)
    if expiry.touch_interval is None or now - record.touched_at < expiry.touch_interval:
        return None
    if expiry.outlives_browser and exchange.phase is not WAITING:
        # The cookie would not last as long.
        return None
    deadline = expiry.deadline(record.created_at, now)
    return None if deadline == record.expires_at else deadline


def _require_stored(current: RequestSession) -> Stored:
    if current.stored is None:
        raise AssertionError("only a session that the store has is patched")
    return current.stored


def _interrupted() -> SessionInterrupted:
    return SessionInterrupted(
        "the session was deleted or ran out, or a parallel request gave it a new ID, while this one was changing it;"
        " nothing was saved"
    )
