"""The contract bites: for each of these deliberately wrong stores, a test of it fails."""

import pytest

from wsgisessions import MemoryStore, Outcome, Patch
from wsgisessions.testing import StoreContract


class Overwrites(MemoryStore):
    def create(self, key, record):
        self.delete(key)
        return super().create(key, record)


class Resurrects(MemoryStore):
    def update(self, key, patch):
        outcome = super().update(key, patch)
        if outcome is Outcome.GONE and patch.expires_at is not None:
            from wsgisessions import Record

            now = self._clock()
            self.create(key, Record(patch.set, now, now, patch.expires_at))
        return outcome


class ForgetsExpectations(MemoryStore):
    def update(self, key, patch):
        from dataclasses import replace

        return super().update(key, replace(patch, expect={}))


class RewritesTheWholeMap(MemoryStore):
    def update(self, key, patch):
        record = self.load(key)
        if record is None:
            return Outcome.GONE
        import time

        time.sleep(0.001)
        return super().update(key, Patch(clear=True, set={**record.values, **patch.set}))


class ShowsTheExpired(MemoryStore):
    def load(self, key):
        return self._records.get(key)


class KeepsTheOldKey(MemoryStore):
    def rename(self, key, new_key, patch):
        record = self.load(key)
        outcome = super().rename(key, new_key, patch)
        if outcome is Outcome.DONE:
            self.create(key, record)
        return outcome


class DeletesWhatIsFull(MemoryStore):
    def delete(self, key, *, if_empty=False):
        return super().delete(key)


class CountsReservedValues(MemoryStore):
    def delete(self, key, *, if_empty=False):
        record = self.load(key)
        return not (if_empty and record is not None and record.values) and super().delete(key, if_empty=if_empty)


class SharesItsLeases(MemoryStore):
    def acquire(self, key, token, lease):
        self._leases.pop(key, None)
        return super().acquire(key, token, lease)


class ForgetsTokens(MemoryStore):
    def update(self, key, patch):
        from dataclasses import replace

        return super().update(key, replace(patch, token=None))


class DeletesTheCurrentToo(MemoryStore):
    def delete_owner(self, owner, *, keep=None):
        return super().delete_owner(owner)


WRONG = {
    Overwrites: "test_create_never_overwrites",
    Resurrects: "test_update_never_brings_a_session_to_life",
    ForgetsExpectations: "test_a_failed_expectation_writes_nothing",
    RewritesTheWholeMap: "test_parallel_updates_of_different_keys_all_survive",
    ShowsTheExpired: "test_an_expired_session_is_absent_to_every_method",
    KeepsTheOldKey: "test_rename_moves_everything",
    DeletesWhatIsFull: "test_delete_if_empty_spares_values_and_owners",
    CountsReservedValues: "test_reserved_values_do_not_keep_an_empty_session",
    SharesItsLeases: "test_a_lease_is_held_by_one_token",
    ForgetsTokens: "test_a_patch_with_a_token_needs_its_lease",
    DeletesTheCurrentToo: "test_delete_owner_spares_one_key_and_other_owners",
}


@pytest.mark.parametrize("store_class", WRONG, ids=lambda store_class: store_class.__name__)
def test_a_wrong_store_fails_the_contract(store_class, pytester):
    pytester.makepyfile(
        f"""
        import runpy
        from wsgisessions.testing import StoreContract
        {store_class.__name__} = runpy.run_path({__file__!r})[{store_class.__name__!r}]

        class TestWrongStore(StoreContract):
            def make_store(self, clock):
                return {store_class.__name__}(clock=clock)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", "-k", WRONG[store_class])
    result.assert_outcomes(failed=1, deselected=len(_tests()) - 1)


def _tests():
    return [name for name in vars(StoreContract) if name.startswith("test_")]
