"""The suite that every store must pass: one test for each promise of `wsgisessions.stores.base`.

Derive a class whose name starts with `Test`, and give it `make_store`:

    class TestMyStore(StoreContract):
        def make_store(self, clock):
            return MyStore(clock=clock)
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from ..record import Outcome, Patch, Record
from ..stores.base import Store
from .clock import ManualClock

HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)

HOSTILE_FIELDS = (
    "",
    " ",
    "a.b",
    "a..b",
    ".",
    "$set",
    "$",
    "_id",
    "key",
    "values",
    "id_hash",
    "fields",
    'double"quote',
    "single'quote",
    "back\\slash",
    "%s",
    ":name",
    "[0]",
    "$.path",
    "new\nline",
    "tab\t",
    "\x01",
    "\x7f",
    "\u2028",
    "é",
    "e\u0301",
    "😀",
    "case",
    "CASE",
    "x" * 1000,
)

HOSTILE_TEXTS = (
    "",
    "null",
    '"text"',
    "1.0",
    "1e400",
    '{"nested": {"drops": null}}',
    "back\\slash\\u0000",
    "'; DROP TABLE sessions; --",
    "😀\x01\x7f\u2028",
    "x" * 100_000,
)


class StoreContract:
    """One test for each promise of a store."""

    server_clock: ClassVar[bool] = False
    """Whether the engine keeps its own time, so that the tests must wait instead of setting the clock."""

    def make_store(self, clock: ManualClock) -> Store:
        """Return an empty store that takes its time from `clock`, unless `server_clock`."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Return the store's clock."""
        return ManualClock(datetime.now(timezone.utc)) if self.server_clock else ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Iterator[Store]:
        """Yield a store of the engine under test."""
        store = self.make_store(clock)
        store.setup()
        yield store
        store.close()

    @pytest.fixture
    def make_record(self, clock: ManualClock) -> Callable[..., Record]:
        """Return a maker of records that live for an hour unless told otherwise."""

        def make(fields: dict[str, str] | None = None, *, lives: timedelta = HOUR, owner: str | None = None) -> Record:
            now = clock()
            return Record({} if fields is None else fields, now, now, now + lives, owner)

        return make

    def pass_time(self, clock: ManualClock, time_passed: timedelta) -> None:
        """Let time pass for the store."""
        if self.server_clock:
            time.sleep(time_passed.total_seconds())
        clock.advance(time_passed)

    # --- create and load

    def test_load_returns_what_create_stored(self, store: Store, make_record: Any) -> None:
        """A record comes back as it went in, to the millisecond."""
        id_hash, record = _id_hash(), make_record({"a": "1", "b": '"x"'}, owner="ann")
        assert store.create(id_hash, record) is True
        _assert_same(store.load(id_hash), record)

    def test_load_of_an_absent_session_is_none(self, store: Store) -> None:
        """None: absent."""
        assert store.load(_id_hash()) is None

    def test_create_never_overwrites(self, store: Store, make_record: Any) -> None:
        """False and no change if the ID hash is taken."""
        id_hash, record = _id_hash(), make_record({"a": "1"})
        store.create(id_hash, record)
        assert store.create(id_hash, make_record({"a": "2"}, owner="eve")) is False
        _assert_same(store.load(id_hash), record)

    def test_create_under_the_same_id_hash_succeeds_once(self, store: Store, make_record: Any) -> None:
        """Of several creations at once, one wins and its record is the stored one."""
        id_hash = _id_hash()
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: store.create(id_hash, make_record({"n": str(n)})), range(8)))
        assert made.count(True) == 1
        assert _fields(store, id_hash) == {"n": str(made.index(True))}

    def test_an_expired_session_does_not_take_its_id_hash(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Nothing of the expired one is left in the new one."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"old": "1"}, lives=50 * MILLISECOND, owner="ann"))
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.create(id_hash, make_record({"new": "1"})) is True
        _assert_same(store.load(id_hash), make_record({"new": "1"}))

    def test_hostile_fields_and_texts_survive(self, store: Store, make_record: Any) -> None:
        """Fields and texts hold anything but NUL and lone surrogates."""
        id_hash = _id_hash()
        created = {name: HOSTILE_TEXTS[index % len(HOSTILE_TEXTS)] for index, name in enumerate(HOSTILE_FIELDS)}
        store.create(id_hash, make_record(created))
        assert _fields(store, id_hash) == created
        changed = {name: HOSTILE_TEXTS[(index + 1) % len(HOSTILE_TEXTS)] for index, name in enumerate(HOSTILE_FIELDS)}
        assert store.update(id_hash, Patch(set=changed, expect=created)) is Outcome.DONE
        assert _fields(store, id_hash) == changed
        assert store.update(id_hash, Patch(remove=HOSTILE_FIELDS[::2])) is Outcome.DONE
        assert _fields(store, id_hash) == {name: changed[name] for name in HOSTILE_FIELDS[1::2]}

    # --- expiry

    def test_an_expired_session_is_absent_to_every_method(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Whatever the engine's reaper has done so far."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"a": "1"}, lives=50 * MILLISECOND, owner="ann"))
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.load(id_hash) is None
        assert store.update(id_hash, Patch(set={"a": "2"}, expires_at=clock() + HOUR)) is Outcome.GONE
        assert store.rename(id_hash, _id_hash(), Patch()) is Outcome.GONE
        assert store.acquire(id_hash, "token", HOUR) is False
        assert list(store.find("ann")) == []
        assert store.delete_owner("ann") == 0
        assert store.delete(id_hash) is False
        assert store.load(id_hash) is None

    def test_a_session_lives_until_its_deadline(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """Not shorter."""
        id_hash = _id_hash()
        store.create(id_hash, make_record(lives=10 * HOUR))
        if not self.server_clock:
            clock.advance(10 * HOUR - MILLISECOND)
        assert store.load(id_hash) is not None

    def test_delete_expired_deletes_one_batch_of_the_expired_only(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Returns how many; an engine that expires by itself returns 0."""
        live = _id_hash()
        store.create(live, make_record())
        for _ in range(5):
            store.create(_id_hash(), make_record(lives=50 * MILLISECOND))
        self.pass_time(clock, 60 * MILLISECOND)
        assert [store.delete_expired(limit=3) for _ in range(3)] in ([3, 2, 0], [0, 0, 0])
        assert store.load(live) is not None

    # --- update

    def test_update_changes_what_the_patch_names_and_no_more(self, store: Store, make_record: Any) -> None:
        """Other fields, times and the owner stay."""
        id_hash, record = _id_hash(), make_record({"keep": "1", "change": "1", "drop": "1"}, owner="ann")
        store.create(id_hash, record)
        patch = Patch(set={"change": "2", "new": "1"}, remove={"drop", "never there"})
        assert store.update(id_hash, patch) is Outcome.DONE
        _assert_same(store.load(id_hash), replace(record, fields={"keep": "1", "change": "2", "new": "1"}))

    def test_whatever_the_order_of_fields_all_that_a_patch_removes_goes(self, store: Store, make_record: Any) -> None:
        """And all that it sets is set."""
        for stored in permutations("abcd"):
            id_hash = _id_hash()
            store.create(id_hash, make_record(dict.fromkeys(stored, "1")))
            patch = Patch(set={"é": "2", "d": "2"}, remove=["a", "c", "b"])
            assert store.update(id_hash, patch) is Outcome.DONE
            assert _fields(store, id_hash) == {"d": "2", "é": "2"}

    def test_expires_at_and_touched_at_move_together(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """A patch that sets the one stamps the other with the present; the start stays."""
        id_hash, record = _id_hash(), make_record({"a": "1"})
        store.create(id_hash, record)
        self.pass_time(clock, 50 * MILLISECOND)
        later = clock() + 5 * HOUR
        assert store.update(id_hash, Patch(expires_at=later)) is Outcome.DONE
        loaded = store.load(id_hash)
        assert loaded is not None
        assert _at_millisecond(loaded.expires_at) == _at_millisecond(later)
        assert loaded.touched_at - record.touched_at >= 40 * MILLISECOND
        assert _at_millisecond(loaded.created_at) == _at_millisecond(record.created_at)
        assert loaded.fields == {"a": "1"}

    def test_a_deadline_can_be_as_good_as_never(self, store: Store, make_record: Any) -> None:
        """The year 9999 is kept, by create and by update."""
        never = datetime(9999, 1, 1, tzinfo=timezone.utc)
        created, updated = _id_hash(), _id_hash()
        store.create(created, replace(make_record(), expires_at=never))
        store.create(updated, make_record())
        assert store.update(updated, Patch(expires_at=never)) is Outcome.DONE
        for id_hash in (created, updated):
            loaded = store.load(id_hash)
            assert loaded is not None
            assert loaded.expires_at == never

    def test_a_deadline_can_move_nearer(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """And counts from then on."""
        id_hash = _id_hash()
        store.create(id_hash, make_record())
        assert store.update(id_hash, Patch(expires_at=clock() + 50 * MILLISECOND)) is Outcome.DONE
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.load(id_hash) is None

    def test_a_session_that_is_touched_is_never_absent(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Other threads see all of an update or none of it."""
        id_hash = _id_hash()
        store.create(id_hash, make_record(owner="ann"))

        def touch() -> None:
            for number in range(200):
                store.update(
                    id_hash, Patch(expires_at=clock() + HOUR + number * MILLISECOND, owner=f"owner {number % 2}")
                )

        toucher = threading.Thread(target=touch)
        absent = 0
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            toucher.start()
            while toucher.is_alive():
                absent += store.load(id_hash) is None
        finally:
            sys.setswitchinterval(interval)
            toucher.join()
        assert absent == 0

    def test_update_sets_the_owner(self, store: Store, make_record: Any) -> None:
        """And `find` knows it at once."""
        id_hash = _id_hash()
        store.create(id_hash, make_record(owner="ann"))
        assert store.update(id_hash, Patch(owner="bob")) is Outcome.DONE
        assert [found for found, _ in store.find("bob")] == [id_hash]
        assert list(store.find("ann")) == []

    def test_update_never_brings_a_session_to_life(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """GONE, and it stays gone."""
        id_hash = _id_hash()
        patch = Patch(set={"a": "1"}, expires_at=clock() + HOUR)
        assert store.update(id_hash, patch) is Outcome.GONE
        store.create(id_hash, make_record())
        store.delete(id_hash)
        assert store.update(id_hash, patch) is Outcome.GONE
        assert store.load(id_hash) is None

    def test_a_failed_expectation_writes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: all or nothing."""
        id_hash, record = _id_hash(), make_record({"a": "1", "b": "1"})
        store.create(id_hash, record)
        for expect in ({"a": "2"}, {"a": None}, {"absent": "1"}, {"a": "1", "b": "2"}):
            patch = Patch(set={"c": "1"}, remove={"a"}, owner="eve", expect=expect)
            assert store.update(id_hash, patch) is Outcome.CONFLICT
        _assert_same(store.load(id_hash), record)

    def test_an_expectation_is_met_by_the_very_text_only(self, store: Store, make_record: Any) -> None:
        """Neither case, spaces at the end, Unicode's other forms nor JSON's make two texts one."""
        texts = ("a", "A", "a ", "", "\u00e9", "e\u0301", '"\\u00e9"', '"\u00e9"', "1", "1.0", "null", "\\", "\\\\")
        id_hash = _id_hash()
        store.create(id_hash, make_record({str(number): text for number, text in enumerate(texts)}))
        for number, text in enumerate(texts):
            for other in texts:
                outcome = store.update(id_hash, Patch(set={"n": "1"}, expect={str(number): other}))
                assert outcome is (Outcome.DONE if other == text else Outcome.CONFLICT)

    def test_a_field_is_absent_only_if_none_is_that_very_field(self, store: Store, make_record: Any) -> None:
        """Whatever fields are beside it."""
        id_hash = _id_hash()
        store.create(id_hash, make_record(dict.fromkeys(HOSTILE_FIELDS, "1")))
        for name in HOSTILE_FIELDS:
            assert store.update(id_hash, Patch(set={"n": "1"}, expect={name: None})) is Outcome.CONFLICT
        patch = Patch(set={"n": "2"}, expect={name + "x": None for name in HOSTILE_FIELDS})
        assert store.update(id_hash, patch) is Outcome.DONE

    def test_expectations_that_hold_let_the_patch_through(self, store: Store, make_record: Any) -> None:
        """None expects the field to be absent."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"a": "1"}))
        assert store.update(id_hash, Patch(set={"b": "1"}, expect={"a": "1", "b": None})) is Outcome.DONE
        assert _fields(store, id_hash) == {"a": "1", "b": "1"}

    def test_gone_goes_before_conflict(self, store: Store) -> None:
        """An absent session has no expectations to fail."""
        assert store.update(_id_hash(), Patch(expect={"a": "1"})) is Outcome.GONE
        assert store.update(_id_hash(), Patch(token="token")) is Outcome.GONE  # noqa: S106 -- a lease's

    def test_parallel_updates_of_different_fields_all_survive(self, store: Store, make_record: Any) -> None:
        """The promise for which this package exists."""
        id_hash = _id_hash()
        store.create(id_hash, make_record())

        def write(thread: int) -> None:
            for number in range(25):
                assert store.update(id_hash, Patch(set={f"{thread}.{number}": "1"})) is Outcome.DONE

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        fields = _fields(store, id_hash)
        assert fields is not None
        assert len(fields) == 8 * 25

    def test_of_parallel_updates_with_one_expectation_one_is_done(self, store: Store, make_record: Any) -> None:
        """Compare and set is one step."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"n": "0"}))

        def write(thread: int) -> Outcome:
            return store.update(id_hash, Patch(set={"n": str(thread)}, expect={"n": "0"}))

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(write, range(1, 9)))
        assert outcomes.count(Outcome.DONE) == 1
        assert outcomes.count(Outcome.CONFLICT) == 7
        assert _fields(store, id_hash) == {"n": str(outcomes.index(Outcome.DONE) + 1)}

    def test_a_loaded_record_does_not_change(self, store: Store, make_record: Any) -> None:
        """It is what was there at the time."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"a": "1"}))
        loaded = store.load(id_hash)
        store.update(id_hash, Patch(set={"a": "2"}))
        assert loaded is not None
        assert loaded.fields == {"a": "1"}

    # --- rename

    def test_rename_moves_everything(self, store: Store, make_record: Any) -> None:
        """Fields with the patch applied, times and owner; under the old ID hash it is absent."""
        id_hash, new_id_hash, record = _id_hash(), _id_hash(), make_record({"a": "1", "b": "1"}, owner="ann")
        store.create(id_hash, record)
        assert store.rename(id_hash, new_id_hash, Patch(set={"a": "2"}, remove={"b"})) is Outcome.DONE
        assert store.load(id_hash) is None
        _assert_same(store.load(new_id_hash), replace(record, fields={"a": "2"}))
        assert [found for found, _ in store.find("ann")] == [new_id_hash]

    def test_a_renamed_session_is_absent_under_its_old_id_hash(self, store: Store, make_record: Any) -> None:
        """Every method answers GONE, None or False there, and the session itself stays as it is."""
        id_hash, new_id_hash, record = _id_hash(), _id_hash(), make_record({"a": "1"}, owner="ann")
        store.create(id_hash, record)
        store.acquire(id_hash, "mine", HOUR)
        assert store.rename(id_hash, new_id_hash, Patch()) is Outcome.DONE
        assert store.load(id_hash) is None
        for patch in (Patch(set={"a": "2"}), Patch(expect={"a": "2"}), Patch(token="mine")):  # noqa: S106 -- a lease's
            assert store.update(id_hash, patch) is Outcome.GONE
            assert store.rename(id_hash, _id_hash(), patch) is Outcome.GONE
        assert store.rename(id_hash, new_id_hash, Patch()) is Outcome.GONE
        assert store.delete(id_hash) is False
        assert store.delete(id_hash, if_empty=True) is False
        assert store.acquire(id_hash, "mine", HOUR) is False
        assert store.release(id_hash, "mine") is False
        _assert_same(store.load(new_id_hash), record)

    def test_rename_to_a_deadline_that_has_passed_ends_the_session(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Under both ID hashes."""
        id_hash, new_id_hash = _id_hash(), _id_hash()
        store.create(id_hash, make_record())
        assert store.rename(id_hash, new_id_hash, Patch(expires_at=clock() - HOUR)) is Outcome.DONE
        assert store.load(id_hash) is None
        assert store.load(new_id_hash) is None

    def test_rename_of_an_absent_session_is_gone(self, store: Store) -> None:
        """And makes none."""
        new_id_hash = _id_hash()
        assert store.rename(_id_hash(), new_id_hash, Patch(set={"a": "1"})) is Outcome.GONE
        assert store.load(new_id_hash) is None

    def test_rename_to_a_taken_id_hash_changes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: two sessions never become one."""
        id_hash, taken, record = _id_hash(), _id_hash(), make_record({"a": "1"})
        store.create(id_hash, record)
        store.create(taken, make_record({"other": "1"}))
        assert store.rename(id_hash, taken, Patch(set={"a": "2"})) is Outcome.CONFLICT
        _assert_same(store.load(id_hash), record)
        assert _fields(store, taken) == {"other": "1"}

    def test_rename_with_a_failed_expectation_changes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: all or nothing."""
        id_hash, new_id_hash = _id_hash(), _id_hash()
        store.create(id_hash, make_record({"a": "1"}))
        assert store.rename(id_hash, new_id_hash, Patch(set={"a": "3"}, expect={"a": "2"})) is Outcome.CONFLICT
        assert _fields(store, id_hash) == {"a": "1"}
        assert store.load(new_id_hash) is None

    def test_of_parallel_renames_one_is_done(self, store: Store, make_record: Any) -> None:
        """One session stays one."""
        id_hash, new_id_hashes = _id_hash(), [_id_hash() for _ in range(8)]
        store.create(id_hash, make_record())
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda new_id_hash: store.rename(id_hash, new_id_hash, Patch()), new_id_hashes))
        assert outcomes.count(Outcome.DONE) == 1
        assert outcomes.count(Outcome.GONE) == 7
        assert sum(store.load(new_id_hash) is not None for new_id_hash in new_id_hashes) == 1

    # --- delete

    def test_delete_tells_whether_there_was_a_session(self, store: Store, make_record: Any) -> None:
        """True once."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"a": "1"}))
        assert store.delete(id_hash) is True
        assert store.load(id_hash) is None
        assert store.delete(id_hash) is False

    def test_delete_if_empty_spares_fields_and_owners(self, store: Store, make_record: Any) -> None:
        """What a parallel request stored is not lost."""
        filled, owned, empty = _id_hash(), _id_hash(), _id_hash()
        store.create(filled, make_record({"a": "1"}))
        store.create(owned, make_record(owner="ann"))
        store.create(empty, make_record({"a": "1"}))
        store.update(empty, Patch(remove={"a"}))
        assert [store.delete(id_hash, if_empty=True) for id_hash in (filled, owned, empty)] == [False, False, True]
        assert [store.load(id_hash) is None for id_hash in (filled, owned, empty)] == [False, False, True]

    def test_reserved_fields_do_not_keep_an_empty_session(self, store: Store, make_record: Any) -> None:
        """They are about the session, not in it; fields that only look like theirs are."""
        own = {"wsgisessions.expiry": "1", "wsgisessions.key": "2"}
        empty = _id_hash()
        store.create(empty, make_record(own))
        assert store.delete(empty, if_empty=True) is True
        for name in ("a", "", "wsgisessions", "wsgisessionsX", "Wsgisessions.a", " wsgisessions.a", 'a"wsgisessions.a'):
            filled = _id_hash()
            store.create(filled, make_record({**own, name: "1"}))
            assert store.delete(filled, if_empty=True) is False, name

    def test_an_update_that_races_with_delete_leaves_nothing(self, store: Store, make_record: Any) -> None:
        """A logged-out session is never brought back to life by a late write."""
        for _ in range(20):
            id_hash = _id_hash()
            store.create(id_hash, make_record({"n": "0"}))
            start = threading.Barrier(5)

            def write(id_hash: str = id_hash, start: threading.Barrier = start) -> None:
                start.wait()
                for number in range(5):
                    store.update(id_hash, Patch(set={"n": str(number)}))

            writers = [threading.Thread(target=write) for _ in range(4)]
            for writer in writers:
                writer.start()
            start.wait()
            store.delete(id_hash)
            for writer in writers:
                writer.join()
            assert store.load(id_hash) is None

    # --- leases

    def test_a_lease_is_held_by_one_token(self, store: Store, make_record: Any) -> None:
        """And by another once it is released."""
        id_hash = _id_hash()
        store.create(id_hash, make_record())
        assert store.acquire(id_hash, "mine", HOUR) is True
        assert store.acquire(id_hash, "theirs", HOUR) is False
        assert store.acquire(id_hash, "mine", HOUR) is True
        assert store.release(id_hash, "theirs") is False
        assert store.release(id_hash, "mine") is True
        assert store.release(id_hash, "mine") is False
        assert store.acquire(id_hash, "theirs", HOUR) is True

    def test_a_lease_runs_out(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """Its token counts no more, and another may take it."""
        id_hash = _id_hash()
        store.create(id_hash, make_record())
        store.acquire(id_hash, "mine", 50 * MILLISECOND)
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.update(id_hash, Patch(set={"a": "1"}, token="mine")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        assert store.release(id_hash, "mine") is False
        assert store.acquire(id_hash, "theirs", HOUR) is True
        assert _fields(store, id_hash) == {}

    def test_an_absent_session_has_no_lease(self, store: Store) -> None:
        """False."""
        assert store.acquire(_id_hash(), "mine", HOUR) is False

    def test_a_patch_with_a_token_needs_its_lease(self, store: Store, make_record: Any) -> None:
        """CONFLICT without; patches without a token take no notice of a lease."""
        id_hash = _id_hash()
        store.create(id_hash, make_record())
        assert store.update(id_hash, Patch(set={"a": "1"}, token="mine")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        store.acquire(id_hash, "mine", HOUR)
        assert store.update(id_hash, Patch(set={"a": "1"}, token="theirs")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        assert store.update(id_hash, Patch(set={"a": "1"}, token="mine")) is Outcome.DONE  # noqa: S106 -- a lease's
        assert store.update(id_hash, Patch(set={"b": "1"})) is Outcome.DONE
        assert _fields(store, id_hash) == {"a": "1", "b": "1"}

    def test_a_lease_survives_updates_and_moves_with_rename(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """A request may change its ID while it holds the lock."""
        id_hash, new_id_hash = _id_hash(), _id_hash()
        store.create(id_hash, make_record())
        store.acquire(id_hash, "mine", HOUR)
        patch = Patch(expires_at=clock() + 2 * HOUR, owner="ann", token="mine")  # noqa: S106 -- a lease's
        assert store.update(id_hash, patch) is Outcome.DONE
        assert store.rename(id_hash, new_id_hash, Patch(token="mine")) is Outcome.DONE  # noqa: S106 -- a lease's
        assert store.acquire(new_id_hash, "theirs", HOUR) is False
        assert store.release(new_id_hash, "mine") is True

    # --- owners

    def test_find_yields_the_live_sessions_of_one_owner(self, store: Store, make_record: Any) -> None:
        """With their ID hashes, in any order; None and other owners' are not among them."""
        mine = {_id_hash(): make_record({"n": str(number)}, owner="ann") for number in range(3)}
        for id_hash, record in mine.items():
            store.create(id_hash, record)
        store.create(_id_hash(), make_record(owner="Ann"))
        store.create(_id_hash(), make_record())
        found = dict(store.find("ann"))
        assert found.keys() == mine.keys()
        for id_hash, record in mine.items():
            _assert_same(found[id_hash], record)
        assert list(store.find("nobody")) == []

    def test_delete_owner_spares_one_session_and_other_owners(self, store: Store, make_record: Any) -> None:
        """Returns how many went."""
        kept, gone, other = _id_hash(), [_id_hash(), _id_hash()], _id_hash()
        for id_hash in (kept, *gone):
            store.create(id_hash, make_record(owner="ann"))
        store.create(other, make_record(owner="bob"))
        assert store.delete_owner("ann", keep=kept) == 2
        assert [store.load(id_hash) is None for id_hash in (kept, *gone, other)] == [False, True, True, False]
        assert store.delete_owner("ann") == 1
        assert store.delete_owner("ann") == 0

    def test_no_session_that_is_renamed_escapes_delete_owner(self, store: Store, make_record: Any) -> None:
        """Once it has returned, none of the sessions that were the owner's is alive."""
        for _ in range(20):
            id_hashes = [_id_hash() for _ in range(4)]
            for id_hash in id_hashes:
                store.create(id_hash, make_record(owner="ann"))
            new_id_hashes = {id_hash: _id_hash() for id_hash in id_hashes}
            start = threading.Barrier(5)

            def rename(
                id_hash: str, new_id_hashes: dict[str, str] = new_id_hashes, start: threading.Barrier = start
            ) -> None:
                start.wait()
                store.rename(id_hash, new_id_hashes[id_hash], Patch())

            movers = [threading.Thread(target=rename, args=[id_hash]) for id_hash in id_hashes]
            for mover in movers:
                mover.start()
            start.wait()
            store.delete_owner("ann")
            for mover in movers:
                mover.join()
            assert [
                id_hash for id_hash in (*id_hashes, *new_id_hashes.values()) if store.load(id_hash) is not None
            ] == []

    def test_hostile_owners_survive(self, store: Store, make_record: Any) -> None:
        """An owner is any text that is not empty."""
        for owner in (*HOSTILE_FIELDS[1:-1], "o" * 200):
            id_hash = _id_hash()
            store.create(id_hash, make_record(owner=owner))
            assert [found for found, _ in store.find(owner)] == [id_hash]
            assert store.delete_owner(owner) == 1

    # --- life

    def test_setup_is_idempotent_and_keeps_sessions(self, store: Store, make_record: Any) -> None:
        """Also when many workers start at once."""
        id_hash = _id_hash()
        store.create(id_hash, make_record({"a": "1"}))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.setup(), range(8)))
        assert _fields(store, id_hash) == {"a": "1"}

    def test_a_closed_store_opens_again(self, store: Store, make_record: Any) -> None:
        """`close` lets go of connections, not of the store."""
        store.close()
        store.close()
        id_hash = _id_hash()
        assert store.create(id_hash, make_record()) is True
        assert store.load(id_hash) is not None


def _id_hash() -> str:
    return secrets.token_hex(32)


def _fields(store: Store, id_hash: str) -> dict[str, str] | None:
    record = store.load(id_hash)
    return None if record is None else dict(record.fields)


def _at_millisecond(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _assert_same(loaded: Record | None, record: Record) -> None:
    assert loaded is not None
    assert dict(loaded.fields) == record.fields
    assert loaded.owner == record.owner
    for name in ("created_at", "touched_at", "expires_at"):
        ours, theirs = getattr(loaded, name), getattr(record, name)
        assert ours.utcoffset() == timedelta(0)
        assert _at_millisecond(ours) == _at_millisecond(theirs)
