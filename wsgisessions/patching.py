"""Getting one patch into the store, and merging it with what other requests changed meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .codec import Codec
from .errors import LockLost, SessionConflict
from .merge import Rule
from .record import Outcome, Patch, Record
from .stores.base import Store

_MOST_ROUNDS = 10
_PAUSE = 0.002


class Patching:
    """Applies patches under the declared rules: the last wins, the later is refused, or both merge."""

    def __init__(self, store: Store, codec: Codec, *, refuses: bool, merges: Mapping[str, Rule]) -> None:
        self._store = store
        self._codec = codec
        self._refuses = refuses
        self._merges = dict(merges)

    def is_guarded(self, key: str) -> bool:
        """Tell whether a change of this key must not overwrite another request's."""
        return self._refuses or key in self._merges

    def apply(self, key: str, mine: Patch, new_key: str | None) -> Applied:
        """Apply a patch, and move the session to `new_key` if there is one.

        One round trip; two more for each round of merging, ten at most.

        :raises SessionConflict: a guarded key was changed and cannot be merged.
        :raises LockLost: the patch's lease is not running any more.
        """
        patch, merged = mine, frozenset[str]()
        for attempt in range(_MOST_ROUNDS):
            outcome = self._store.update(key, patch) if new_key is None else self._store.rename(key, new_key, patch)
            if outcome is not Outcome.CONFLICT:
                return Applied(outcome, patch, merged)
            time.sleep(_PAUSE * attempt * random.random())  # noqa: S311 -- jitter guards no secret
            record = self._store.load(key)
            if record is None:
                return Applied(Outcome.GONE, patch, merged)
            patch, merged = self._rebase(mine, record)
        raise SessionConflict(
            f"other requests changed the same session keys {_MOST_ROUNDS} times in a row; nothing was saved"
        )

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
        return patch, frozenset(contested)

    def _merge(self, key: str, mine: Patch, theirs: str | None) -> str | None:
        rule = self._merges.get(key)
        if rule is None:
            raise SessionConflict(
                f"another request changed the session key {key!r} after this one read it; nothing was saved"
            )
        texts = (mine.expect[key], mine.set.get(key), theirs)
        sides = [None if text is None else self._codec.decode(text) for text in texts]
        try:
            value = rule(*sides)
        except ValueError as error:
            raise SessionConflict(
                f"two changes of the session key {key!r} cannot be merged; nothing was saved"
            ) from error
        return None if value is None else self._codec.encode(value)


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a patch, which patch it was in the end, and which of its keys were merged."""

    outcome: Outcome
    patch: Patch
    merged: frozenset[str]
