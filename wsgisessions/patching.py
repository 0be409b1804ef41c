"""Getting one patch into the store, and merging it with what other requests changed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from .codec import Codec
from .errors import LockLost, LockTimeout, SessionConflict
from .locking import leased
from .merge import Rule
from .record import Outcome, Patch, Record
from .sealing import Seal
from .state import split_texts
from .stores.base import Store

_MOST_ROUNDS = 10
_LONGEST_PAUSE = 0.02
_TURN_TIMEOUT = 10.0
_TURN_LEASE = 5.0
_CONTESTED_SECONDS = 1.0


class Patching:
    """Applies patches under the declared rules: the last wins, the later is refused, or both merge."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        refuses: bool,
        merges: Mapping[str, Rule],
        check_size: Callable[[Mapping[str, str]], None],
    ) -> None:
        self._store = store
        self._codec = codec
        self._refuses = refuses
        self._merges = dict(merges)
        self._check_size = check_size
        self._contested = ContestedSessions()

    @property
    def guards(self) -> Callable[[str], bool] | None:
        """Which keys' changes must not overwrite another request's; None: no key's."""
        if self._refuses:
            return lambda key: True
        return self._merges.__contains__ if self._merges else None

    def apply(self, key: str, mine: Patch, new_key: str | None, seal: Seal | None) -> Applied:
        """Apply a patch, and move the session to `new_key` if there is one.

        One round trip; two more for each round of merging, ten rounds at most. While rivals are about,
        two more for taking turns.

        :raises SessionConflict: a guarded key was changed and cannot be merged.
        :raises LockLost: the patch's lease is not running any more.
        """
        if mine.expect or mine.token is not None:
            return self._apply_guarded(key, mine, new_key, seal)
        return Applied(self._send(key, new_key, mine, seal), mine)

    def _apply_guarded(self, key: str, mine: Patch, new_key: str | None, seal: Seal | None) -> Applied:
        patch, merged = mine, frozenset[str]()
        current = key

        def current_key() -> str:
            return current

        with ExitStack() as turn:
            has_turn = mine.token is not None
            if key in self._contested and not has_turn:
                has_turn = self._take_turn(turn, current_key)
            for round_number in range(_MOST_ROUNDS):
                outcome = self._send(key, new_key, patch, seal)
                if outcome is not Outcome.CONFLICT:
                    # The lease has moved along, and is let go where it is.
                    current = new_key if outcome is Outcome.DONE and new_key is not None else key
                    return Applied(outcome, patch, merged)
                if mine.token is None and self._merges.keys().isdisjoint(mine.expect):
                    raise _conflict(mine.expect)
                if round_number > 1:
                    # Rounds in quick succession meet the same burst of a rival that has not had to take turns yet.
                    time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 -- jitter guards no secret
                if round_number > 0 and not has_turn:
                    has_turn = self._take_turn(turn, current_key)
                record = self._store.load(key)
                if record is None:
                    return Applied(Outcome.GONE, patch, merged)
                patch, merged = self._rebase(mine, record if seal is None else seal.open(record))
                self._contested.add(key)
        raise SessionConflict(
            f"other requests changed the same session keys {_MOST_ROUNDS} times in a row; nothing was saved"
        )

    def _send(self, key: str, new_key: str | None, patch: Patch, seal: Seal | None) -> Outcome:
        if seal is not None:
            patch = seal.close_patch(key, new_key, patch)
        return self._store.update(key, patch) if new_key is None else self._store.rename(key, new_key, patch)

    def _take_turn(self, turn: ExitStack, key: Callable[[], str]) -> bool:
        with suppress(LockTimeout):
            turn.enter_context(leased(self._store, key, _TURN_TIMEOUT, _TURN_LEASE))
        return True

    def _rebase(self, mine: Patch, record: Record) -> tuple[Patch, frozenset[str]]:
        """Return my changes on top of what is stored now, and the keys that were merged."""
        theirs = {key: record.values.get(key) for key in mine.expect}
        contested = {key for key, text in theirs.items() if text != mine.expect[key]}
        if not contested and mine.token is not None:
            raise LockLost("the lease of session.lock() ran out before the commit; nothing was saved")
        merged = {key: self._merge(key, mine, theirs[key]) for key in contested}
        kept = {key: text for key, text in mine.set.items() if key not in contested}
        patch = replace(
            mine,
            set=kept | {key: text for key, text in merged.items() if text is not None},
            remove=(set(mine.remove) - contested) | {key for key, text in merged.items() if text is None},
            expect=theirs,
        )
        kept_values = {} if patch.clear else {k: text for k, text in record.values.items() if k not in patch.remove}
        self._check_size(split_texts(kept_values | dict(patch.set))[0])
        return patch, frozenset(contested)

    def _merge(self, key: str, mine: Patch, theirs: str | None) -> str | None:
        rule = self._merges.get(key)
        if rule is None:
            raise _conflict([key])
        texts = (mine.expect[key], mine.set.get(key), theirs)
        sides = [None if text is None else self._codec.decode(text) for text in texts]
        try:
            value = rule(*sides)
        except ValueError as error:
            raise SessionConflict(
                f"two changes of the session key {key!r} cannot be merged; nothing was saved"
            ) from error
        return None if value is None else self._codec.encode(value)


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

    def add(self, key: str) -> None:
        """Remember a session, and forget those of which a second has passed."""
        now = time.monotonic()
        self._until = {each: until for each, until in list(self._until.items()) if until > now}
        self._until[key] = now + _CONTESTED_SECONDS

    def __contains__(self, key: str) -> bool:
        return self._until.get(key, 0.0) > time.monotonic()


@dataclass(slots=True)
class Applied:
    """What became of a patch, which patch it was in the end, and which of its keys were merged."""

    outcome: Outcome
    patch: Patch
    merged: frozenset[str] = frozenset()
