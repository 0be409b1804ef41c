"""Getting one patch into the store, and merging it with what other requests changed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress

import msgspec
from msgspec.structs import replace

from .changes import cannot_keep, cannot_read
from .errors import (
    DecodeError,
    EncodeError,
    LockLost,
    LockTimeout,
    SessionConflict,
    SessionInterrupted,
    SessionTooLarge,
    StoreError,
    StoreUnavailable,
)
from .leases import leased
from .loading import open_record
from .options import Settings
from .record import Outcome, Patch, Record
from .request_state import Stored
from .reserved_fields import split_fields
from .seal import Seal

_MOST_ROUNDS = 10
_LONGEST_PAUSE = 0.02
_TURN_TIMEOUT = 10.0
_TURN_LEASE = 5.0
_CONTESTED_SECONDS = 1.0


class Applied(msgspec.Struct, eq=False):
    """What became of a patch, which patch and seal it was in the end, and which of its fields were merged."""

    outcome: Outcome
    patch: Patch
    seal: Seal | None
    merged: Collection[str] = ()


def apply_patch(settings: Settings, stored: Stored, mine: Patch, new_id_hash: str | None) -> Applied:
    """Apply a patch, and move the session to `new_id_hash` if there is one.

    One round trip; two more for each round of merging, ten rounds at most. While rivals are about, two
    more for taking turns. A session that is to be encrypted is loaded anew, as for merging, where another request
    was first.

    :raises SessionConflict: a guarded field was changed and cannot be merged.
    :raises LockLost: the patch's lease is not running any more.
    """
    id_hash, seal = stored.session_id.id_hash, stored.seal
    if mine.expect or mine.token is not None or (seal is not None and seal.is_incomplete):
        return _apply_guarded(settings, stored, mine, new_id_hash)
    sent = mine if seal is None else seal.close_patch(id_hash, stored.record, mine, new_id_hash)
    outcome = _send(settings, id_hash, new_id_hash, sent)
    if seal is not None and outcome is Outcome.DONE:
        seal.note_stored(mine, sent)
    return Applied(outcome, mine, seal)


def check_size(settings: Settings, texts: Mapping[str, str]) -> None:
    """Refuse a session that takes too much.

    :raises SessionTooLarge: its keys and texts are more than `max_bytes`.
    """
    if settings.max_bytes is None:
        return
    # A store that was tampered with may hold lone surrogates.
    size = sum(len(each.encode("utf-8", "surrogatepass")) for item in texts.items() for each in item)
    if size > settings.max_bytes:
        raise SessionTooLarge(
            f"the session would take {size} bytes, and max_bytes is {settings.max_bytes}; nothing was saved."
            " Keep large data elsewhere and its ID in the session"
        )


def _apply_guarded(settings: Settings, stored: Stored, mine: Patch, new_id_hash: str | None) -> Applied:
    patch, merged = mine, frozenset[str]()
    seal = stored.seal
    id_hash = current = stored.session_id.id_hash

    def current_id_hash() -> str:
        return current

    with ExitStack() as turn:
        has_turn = mine.token is not None
        if id_hash in _contested and not has_turn:
            has_turn = _take_turn(settings, turn, current_id_hash)
        for round_number in range(_MOST_ROUNDS):
            sent = patch if seal is None else seal.close_patch(id_hash, stored.record, patch, new_id_hash)
            outcome = _send(settings, id_hash, new_id_hash, sent)
            if outcome is not Outcome.CONFLICT:
                if outcome is Outcome.DONE:
                    # The lease has moved along, and is let go where it is.
                    current = new_id_hash or id_hash
                    if seal is not None:
                        seal.note_stored(patch, sent)
                return Applied(outcome, patch, seal, merged)
            can_go_on = mine.token is not None or (seal is not None and seal.is_incomplete)
            if not can_go_on and settings.merges.keys().isdisjoint(mine.expect):
                raise _conflict(mine.expect)
            if round_number > 1:
                # Rounds in quick succession meet the same burst of a rival that has not had to take turns yet.
                time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 -- jitter guards no secret
            if round_number > 0 and not has_turn:
                has_turn = _take_turn(settings, turn, current_id_hash)
            found = _look_again(settings, id_hash, sent)
            if found is None:
                return Applied(Outcome.GONE, patch, seal, merged)
            record, seal = found
            patch, merged = _rebase(settings, mine, record)
            _contested.add(id_hash)
    raise SessionConflict(
        f"other requests changed the same session keys {_MOST_ROUNDS} times in a row; nothing was saved"
    )


def _send(settings: Settings, id_hash: str, new_id_hash: str | None, patch: Patch) -> Outcome:
    if new_id_hash is None:
        return settings.store.update(id_hash, patch)
    try:
        return settings.store.rename(id_hash, new_id_hash, patch)
    except StoreUnavailable:
        # Only the answer may be lost. Then the old ID is dead, and the client must learn the new one.
        if _is_stored(settings, new_id_hash):
            return Outcome.DONE
        raise


def _is_stored(settings: Settings, id_hash: str) -> bool:
    with suppress(StoreError):
        return settings.store.load(id_hash) is not None
    return False


def _look_again(settings: Settings, id_hash: str, sent: Patch) -> tuple[Record, Seal | None] | None:
    """Return what the store has now that a patch met a conflict, and its seal: a rival may have encrypted it."""
    record = settings.store.load(id_hash)
    if record is None:
        return None
    if sent.token is not None and all(record.fields.get(name) == text for name, text in sent.expect.items()):
        raise LockLost("the lease of session.lock() ran out before the commit; nothing was saved")
    return open_record(settings, id_hash, record)


def _take_turn(settings: Settings, turn: ExitStack, id_hash: Callable[[], str]) -> bool:
    # A session that has moved or ended meanwhile has no turns; the store's answer tells.
    with suppress(LockTimeout, SessionInterrupted):
        turn.enter_context(leased(settings.store, id_hash, _TURN_TIMEOUT, _TURN_LEASE))
    return True


def _rebase(settings: Settings, mine: Patch, record: Record) -> tuple[Patch, frozenset[str]]:
    """Return my changes on top of what is stored now, and the fields that were merged."""
    theirs = {name: record.fields.get(name) for name in mine.expect}
    contested = {name for name, text in theirs.items() if text != mine.expect[name]}
    merged = {name: _merge(settings, name, mine, theirs[name]) for name in contested}
    kept = {name: text for name, text in mine.set.items() if name not in contested}
    patch = replace(
        mine,
        set=kept | {name: text for name, text in merged.items() if text is not None},
        remove=(set(mine.remove) - contested) | {name for name, text in merged.items() if text is None},
        expect=theirs,
    )
    check_size(settings, split_fields(patch.applied_to(record.fields))[0])
    return patch, frozenset(contested)


def _merge(settings: Settings, key: str, mine: Patch, theirs: str | None) -> str | None:
    rule = settings.merges.get(key)
    if rule is None:
        raise _conflict([key])
    if theirs is None and key not in mine.set:
        return None  # both have removed it
    texts = (mine.expect[key], mine.set.get(key), theirs)
    try:
        sides = [None if text is None else settings.codec.decode(text) for text in texts]
    except DecodeError as error:
        raise cannot_read(key, error) from error.__cause__
    try:
        value = rule(*sides)
    except ValueError as error:
        raise SessionConflict(f"two changes of the session key {key!r} cannot be merged; nothing was saved") from error
    try:
        return None if value is None else settings.codec.encode(value)
    except EncodeError as error:
        raise cannot_keep(key, error) from error.__cause__


def _conflict(keys: Collection[str]) -> SessionConflict:
    names = " or ".join(f"session key {key!r}" for key in keys)
    return SessionConflict(f"another request changed {names} after this one read it; nothing was saved")


class ContestedSessions:
    """The sessions of which a commit of this process has met a rival within the last second.

    Writers that only try again can starve one another. Those that have met a rival take turns from
    their next commit on, so the one whose turn it is gets through.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def add(self, id_hash: str) -> None:
        """Remember a session, and forget those of which a second has passed."""
        now = time.monotonic()
        self._until = {each: until for each, until in list(self._until.items()) if until > now}
        self._until[id_hash] = now + _CONTESTED_SECONDS

    def __contains__(self, id_hash: str) -> bool:
        return self._until.get(id_hash, 0.0) > time.monotonic()


_contested = ContestedSessions()
