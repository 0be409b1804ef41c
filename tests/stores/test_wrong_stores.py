"""The contract bites: for each of these deliberately wrong stores, a test of it fails."""

import pytest

from wsgisessions import MemoryStore, Outcome, Patch
from wsgisessions.testing import StoreContract


class Overwrites(MemoryStore):
    def create(self, id_hash, record):
        self.delete(id_hash)
        return super().create(id_hash, record)


class Resurrects(MemoryStore):
    def update(self, id_hash, patch):
        outcome = super().update(id_hash, patch)
        if outcome is Outcome.GONE and patch.expires_at is not None:
            from wsgisessions import Record

            now = self._clock()
            self.create(id_hash, Record(patch.set, now, now, patch.expires_at))
        return outcome


class ForgetsExpectations(MemoryStore):
    def update(self, id_hash, patch):
        from msgspec.structs import replace

        return super().update(id_hash, replace(patch, expect={}))


class RewritesTheWholeMap(MemoryStore):
    def update(self, id_hash, patch):
        record = self.load(id_hash)
        if record is None:
            return Outcome.GONE
        import time

        time.sleep(0.001)
        fields = patch.applied_to(record.fields)
        others = self.load(id_hash).fields.keys() - fields.keys()
        return super().update(id_hash, Patch(set=fields, remove=others))


class ShowsTheExpired(MemoryStore):
    def load(self, id_hash):
        return self._records.get(id_hash)


class KeepsTheOldIDHash(MemoryStore):
    def rename(self, id_hash, new_id_hash, patch):
        record = self.load(id_hash)
        outcome = super().rename(id_hash, new_id_hash, patch)
        if outcome is Outcome.DONE:
            self.create(id_hash, record)
        return outcome


class DeletesWhatIsFull(MemoryStore):
    def delete(self, id_hash, *, if_empty=False):
        return super().delete(id_hash)


class CountsReservedFields(MemoryStore):
    def delete(self, id_hash, *, if_empty=False):
        record = self.load(id_hash)
        return not (if_empty and record is not None and record.fields) and super().delete(id_hash, if_empty=if_empty)


class SharesItsLeases(MemoryStore):
    def acquire(self, id_hash, token, lease):
        self._leases.pop(id_hash, None)
        return super().acquire(id_hash, token, lease)


class ForgetsTokens(MemoryStore):
    def update(self, id_hash, patch):
        from msgspec.structs import replace

        return super().update(id_hash, replace(patch, token=None))


class DeletesTheCurrentToo(MemoryStore):
    def delete_owner(self, owner, *, keep=None):
        return super().delete_owner(owner)


WRONG = {
    Overwrites: "test_create_never_overwrites",
    Resurrects: "test_update_never_brings_a_session_to_life",
    ForgetsExpectations: "test_a_failed_expectation_writes_nothing",
    RewritesTheWholeMap: "test_parallel_updates_of_different_fields_all_survive",
    ShowsTheExpired: "test_an_expired_session_is_absent_to_every_method",
    KeepsTheOldIDHash: "test_rename_moves_everything",
    DeletesWhatIsFull: "test_delete_if_empty_spares_fields_and_owners",
    CountsReservedFields: "test_reserved_fields_do_not_keep_an_empty_session",
    SharesItsLeases: "test_a_lease_is_held_by_one_token",
    ForgetsTokens: "test_a_patch_with_a_token_needs_its_lease",
    DeletesTheCurrentToo: "test_delete_owner_spares_one_session_and_other_owners",
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
