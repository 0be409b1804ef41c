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
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any, ClassVar

import pytest

from ..record import Outcome, Patch, Record
from ..stores.base import Store
from .clock import ManualClock

HOUR = timedelta(hours=1)
MILLISECOND = timedelta(milliseconds=1)

HOSTILE_KEYS = (
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

        def make(values: dict[str, str] | None = None, *, lives: timedelta = HOUR, owner: str | None = None) -> Record:
            now = clock()
            return Record({} if values is None else values, now, now, now + lives, owner)

        return make

    def pass_time(self, clock: ManualClock, time_passed: timedelta) -> None:
        """Let time pass for the store."""
        if self.server_clock:
            time.sleep(time_passed.total_seconds())
        clock.advance(time_passed)

    # --- create and load

    def test_load_returns_what_create_stored(self, store: Store, make_record: Any) -> None:
        """A record comes back as it went in, to the millisecond."""
        key, record = _key(), make_record({"a": "1", "b": '"x"'}, owner="ann")
        assert store.create(key, record) is True
        _assert_same(store.load(key), record)

    def test_load_of_an_absent_session_is_none(self, store: Store) -> None:
        """None: absent."""
        assert store.load(_key()) is None

    def test_create_never_overwrites(self, store: Store, make_record: Any) -> None:
        """False and no change if the key is taken."""
        key, record = _key(), make_record({"a": "1"})
        store.create(key, record)
        assert store.create(key, make_record({"a": "2"}, owner="eve")) is False
        _assert_same(store.load(key), record)

    def test_create_of_the_same_key_succeeds_once(self, store: Store, make_record: Any) -> None:
        """Of several creations at once, one wins and its record is the stored one."""
        key = _key()
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: store.create(key, make_record({"n": str(n)})), range(8)))
        assert made.count(True) == 1
        assert _values(store, key) == {"n": str(made.index(True))}

    def test_an_expired_session_does_not_take_its_key(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """Nothing of the expired one is left in the new one."""
        key = _key()
        store.create(key, make_record({"old": "1"}, lives=50 * MILLISECOND, owner="ann"))
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.create(key, make_record({"new": "1"})) is True
        _assert_same(store.load(key), make_record({"new": "1"}))

    def test_hostile_keys_and_texts_survive(self, store: Store, make_record: Any) -> None:
        """Session keys and texts hold anything but NUL and lone surrogates."""
        key = _key()
        created = {name: HOSTILE_TEXTS[index % len(HOSTILE_TEXTS)] for index, name in enumerate(HOSTILE_KEYS)}
        store.create(key, make_record(created))
        assert _values(store, key) == created
        changed = {name: HOSTILE_TEXTS[(index + 1) % len(HOSTILE_TEXTS)] for index, name in enumerate(HOSTILE_KEYS)}
        assert store.update(key, Patch(set=changed, expect=created)) is Outcome.DONE
        assert _values(store, key) == changed
        assert store.update(key, Patch(remove=HOSTILE_KEYS[::2])) is Outcome.DONE
        assert _values(store, key) == {name: changed[name] for name in HOSTILE_KEYS[1::2]}

    # --- expiry

    def test_an_expired_session_is_absent_to_every_method(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Whatever the engine's reaper has done so far."""
        key = _key()
        store.create(key, make_record({"a": "1"}, lives=50 * MILLISECOND, owner="ann"))
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.load(key) is None
        assert store.update(key, Patch(set={"a": "2"}, expires_at=clock() + HOUR)) is Outcome.GONE
        assert store.rename(key, _key(), Patch()) is Outcome.GONE
        assert store.acquire(key, "token", HOUR) is False
        assert list(store.find("ann")) == []
        assert store.delete_owner("ann") == 0
        assert store.delete(key) is False
        assert store.load(key) is None

    def test_a_session_lives_until_its_deadline(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """Not shorter."""
        key = _key()
        store.create(key, make_record(lives=10 * HOUR))
        if not self.server_clock:
            clock.advance(10 * HOUR - MILLISECOND)
        assert store.load(key) is not None

    def test_delete_expired_deletes_one_batch_of_the_expired_only(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Returns how many; an engine that expires by itself returns 0."""
        live = _key()
        store.create(live, make_record())
        for _ in range(5):
            store.create(_key(), make_record(lives=50 * MILLISECOND))
        self.pass_time(clock, 60 * MILLISECOND)
        assert [store.delete_expired(limit=3) for _ in range(3)] in ([3, 2, 0], [0, 0, 0])
        assert store.load(live) is not None

    # --- update

    def test_update_changes_what_the_patch_names_and_no_more(self, store: Store, make_record: Any) -> None:
        """Other keys, times and the owner stay."""
        key, record = _key(), make_record({"keep": "1", "change": "1", "drop": "1"}, owner="ann")
        store.create(key, record)
        patch = Patch(set={"change": "2", "new": "1"}, remove={"drop", "never there"})
        assert store.update(key, patch) is Outcome.DONE
        _assert_same(store.load(key), replace(record, values={"keep": "1", "change": "2", "new": "1"}))

    def test_whatever_the_order_of_keys_all_that_a_patch_removes_goes(self, store: Store, make_record: Any) -> None:
        """And all that it sets is set."""
        for stored in permutations("abcd"):
            key = _key()
            store.create(key, make_record(dict.fromkeys(stored, "1")))
            patch = Patch(set={"é": "2", "d": "2"}, remove=["a", "c", "b"])
            assert store.update(key, patch) is Outcome.DONE
            assert _values(store, key) == {"d": "2", "é": "2"}

    def test_clear_drops_every_key_before_set(self, store: Store, make_record: Any) -> None:
        """Also those that the patch does not name."""
        key = _key()
        store.create(key, make_record({"a": "1", "b": "1"}))
        assert store.update(key, Patch(clear=True, set={"b": "2"})) is Outcome.DONE
        assert _values(store, key) == {"b": "2"}
        assert store.update(key, Patch(clear=True)) is Outcome.DONE
        assert _values(store, key) == {}

    def test_expires_at_and_touched_at_move_together(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """A patch that sets the one stamps the other with the present; the start stays."""
        key, record = _key(), make_record({"a": "1"})
        store.create(key, record)
        self.pass_time(clock, 50 * MILLISECOND)
        later = clock() + 5 * HOUR
        assert store.update(key, Patch(expires_at=later)) is Outcome.DONE
        loaded = store.load(key)
        assert loaded is not None
        assert _at_millisecond(loaded.expires_at) == _at_millisecond(later)
        assert loaded.touched_at - record.touched_at >= 40 * MILLISECOND
        assert _at_millisecond(loaded.created_at) == _at_millisecond(record.created_at)
        assert loaded.values == {"a": "1"}

    def test_a_deadline_can_move_nearer(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """And counts from then on."""
        key = _key()
        store.create(key, make_record())
        assert store.update(key, Patch(expires_at=clock() + 50 * MILLISECOND)) is Outcome.DONE
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.load(key) is None

    def test_a_session_that_is_touched_is_never_absent(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Other threads see all of an update or none of it."""
        key = _key()
        store.create(key, make_record(owner="ann"))

        def touch() -> None:
            for number in range(200):
                store.update(key, Patch(expires_at=clock() + HOUR + number * MILLISECOND, owner=f"owner {number % 2}"))

        toucher = threading.Thread(target=touch)
        absent = 0
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            toucher.start()
            while toucher.is_alive():
                absent += store.load(key) is None
        finally:
            sys.setswitchinterval(interval)
            toucher.join()
        assert absent == 0

    def test_update_sets_the_owner(self, store: Store, make_record: Any) -> None:
        """And `find` knows it at once."""
        key = _key()
        store.create(key, make_record(owner="ann"))
        assert store.update(key, Patch(owner="bob")) is Outcome.DONE
        assert [found for found, _ in store.find("bob")] == [key]
        assert list(store.find("ann")) == []

    def test_update_never_brings_a_session_to_life(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """GONE, and it stays gone."""
        key = _key()
        patch = Patch(set={"a": "1"}, expires_at=clock() + HOUR)
        assert store.update(key, patch) is Outcome.GONE
        store.create(key, make_record())
        store.delete(key)
        assert store.update(key, patch) is Outcome.GONE
        assert store.load(key) is None

    def test_a_failed_expectation_writes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: all or nothing."""
        key, record = _key(), make_record({"a": "1", "b": "1"})
        store.create(key, record)
        for expect in ({"a": "2"}, {"a": None}, {"absent": "1"}, {"a": "1", "b": "2"}):
            patch = Patch(set={"c": "1"}, remove={"a"}, owner="eve", expect=expect)
            assert store.update(key, patch) is Outcome.CONFLICT
        _assert_same(store.load(key), record)

    def test_an_expectation_is_met_by_the_very_text_only(self, store: Store, make_record: Any) -> None:
        """Neither case, spaces at the end, Unicode's other forms nor JSON's make two texts one."""
        texts = ("a", "A", "a ", "", "\u00e9", "e\u0301", '"\\u00e9"', '"\u00e9"', "1", "1.0", "null", "\\", "\\\\")
        key = _key()
        store.create(key, make_record({str(number): text for number, text in enumerate(texts)}))
        for number, text in enumerate(texts):
            for other in texts:
                outcome = store.update(key, Patch(set={"n": "1"}, expect={str(number): other}))
                assert outcome is (Outcome.DONE if other == text else Outcome.CONFLICT)

    def test_a_key_is_absent_only_if_none_is_that_very_key(self, store: Store, make_record: Any) -> None:
        """Whatever keys are beside it."""
        key = _key()
        store.create(key, make_record(dict.fromkeys(HOSTILE_KEYS, "1")))
        for name in HOSTILE_KEYS:
            assert store.update(key, Patch(set={"n": "1"}, expect={name: None})) is Outcome.CONFLICT
        patch = Patch(set={"n": "2"}, expect={name + "x": None for name in HOSTILE_KEYS})
        assert store.update(key, patch) is Outcome.DONE

    def test_expectations_that_hold_let_the_patch_through(self, store: Store, make_record: Any) -> None:
        """None expects the key to be absent."""
        key = _key()
        store.create(key, make_record({"a": "1"}))
        assert store.update(key, Patch(set={"b": "1"}, expect={"a": "1", "b": None})) is Outcome.DONE
        assert _values(store, key) == {"a": "1", "b": "1"}

    def test_gone_goes_before_conflict(self, store: Store) -> None:
        """An absent session has no expectations to fail."""
        assert store.update(_key(), Patch(expect={"a": "1"})) is Outcome.GONE
        assert store.update(_key(), Patch(token="token")) is Outcome.GONE  # noqa: S106 -- a lease's

    def test_parallel_updates_of_different_keys_all_survive(self, store: Store, make_record: Any) -> None:
        """The promise for which this package exists."""
        key = _key()
        store.create(key, make_record())

        def write(thread: int) -> None:
            for number in range(25):
                assert store.update(key, Patch(set={f"{thread}.{number}": "1"})) is Outcome.DONE

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
        values = _values(store, key)
        assert values is not None
        assert len(values) == 8 * 25

    def test_of_parallel_updates_with_one_expectation_one_is_done(self, store: Store, make_record: Any) -> None:
        """Compare and set is one step."""
        key = _key()
        store.create(key, make_record({"n": "0"}))

        def write(thread: int) -> Outcome:
            return store.update(key, Patch(set={"n": str(thread)}, expect={"n": "0"}))

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(write, range(1, 9)))
        assert outcomes.count(Outcome.DONE) == 1
        assert outcomes.count(Outcome.CONFLICT) == 7
        assert _values(store, key) == {"n": str(outcomes.index(Outcome.DONE) + 1)}

    def test_a_loaded_record_does_not_change(self, store: Store, make_record: Any) -> None:
        """It is what was there at the time."""
        key = _key()
        store.create(key, make_record({"a": "1"}))
        loaded = store.load(key)
        store.update(key, Patch(set={"a": "2"}))
        assert loaded is not None
        assert loaded.values == {"a": "1"}

    # --- rename

    def test_rename_moves_everything(self, store: Store, make_record: Any) -> None:
        """Values with the patch applied, times and owner; the old key is absent."""
        key, new_key, record = _key(), _key(), make_record({"a": "1", "b": "1"}, owner="ann")
        store.create(key, record)
        assert store.rename(key, new_key, Patch(set={"a": "2"}, remove={"b"})) is Outcome.DONE
        assert store.load(key) is None
        _assert_same(store.load(new_key), replace(record, values={"a": "2"}))
        assert [found for found, _ in store.find("ann")] == [new_key]

    def test_rename_to_a_deadline_that_has_passed_ends_the_session(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """Under both keys."""
        key, new_key = _key(), _key()
        store.create(key, make_record())
        assert store.rename(key, new_key, Patch(expires_at=clock() - HOUR)) is Outcome.DONE
        assert store.load(key) is None
        assert store.load(new_key) is None

    def test_rename_of_an_absent_session_is_gone(self, store: Store) -> None:
        """And makes none."""
        new_key = _key()
        assert store.rename(_key(), new_key, Patch(set={"a": "1"})) is Outcome.GONE
        assert store.load(new_key) is None

    def test_rename_to_a_taken_key_changes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: two sessions never become one."""
        key, taken, record = _key(), _key(), make_record({"a": "1"})
        store.create(key, record)
        store.create(taken, make_record({"other": "1"}))
        assert store.rename(key, taken, Patch(set={"a": "2"})) is Outcome.CONFLICT
        _assert_same(store.load(key), record)
        assert _values(store, taken) == {"other": "1"}

    def test_rename_with_a_failed_expectation_changes_nothing(self, store: Store, make_record: Any) -> None:
        """CONFLICT: all or nothing."""
        key, new_key = _key(), _key()
        store.create(key, make_record({"a": "1"}))
        assert store.rename(key, new_key, Patch(set={"a": "3"}, expect={"a": "2"})) is Outcome.CONFLICT
        assert _values(store, key) == {"a": "1"}
        assert store.load(new_key) is None

    def test_of_parallel_renames_one_is_done(self, store: Store, make_record: Any) -> None:
        """One session stays one."""
        key, new_keys = _key(), [_key() for _ in range(8)]
        store.create(key, make_record())
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda new_key: store.rename(key, new_key, Patch()), new_keys))
        assert outcomes.count(Outcome.DONE) == 1
        assert outcomes.count(Outcome.GONE) == 7
        assert sum(store.load(new_key) is not None for new_key in new_keys) == 1

    # --- delete

    def test_delete_tells_whether_there_was_a_session(self, store: Store, make_record: Any) -> None:
        """True once."""
        key = _key()
        store.create(key, make_record({"a": "1"}))
        assert store.delete(key) is True
        assert store.load(key) is None
        assert store.delete(key) is False

    def test_delete_if_empty_spares_values_and_owners(self, store: Store, make_record: Any) -> None:
        """What a parallel request stored is not lost."""
        filled, owned, empty = _key(), _key(), _key()
        store.create(filled, make_record({"a": "1"}))
        store.create(owned, make_record(owner="ann"))
        store.create(empty, make_record({"a": "1"}))
        store.update(empty, Patch(remove={"a"}))
        assert [store.delete(key, if_empty=True) for key in (filled, owned, empty)] == [False, False, True]
        assert [store.load(key) is None for key in (filled, owned, empty)] == [False, False, True]

    def test_reserved_values_do_not_keep_an_empty_session(self, store: Store, make_record: Any) -> None:
        """They are about the session, not in it; keys that only look like theirs are."""
        own = {"wsgisessions.expiry": "1", "wsgisessions.key": "2"}
        empty = _key()
        store.create(empty, make_record(own))
        assert store.delete(empty, if_empty=True) is True
        for name in ("a", "", "wsgisessions", "wsgisessionsX", "Wsgisessions.a", " wsgisessions.a", 'a"wsgisessions.a'):
            filled = _key()
            store.create(filled, make_record({**own, name: "1"}))
            assert store.delete(filled, if_empty=True) is False, name

    def test_an_update_that_races_with_delete_leaves_nothing(self, store: Store, make_record: Any) -> None:
        """A logged-out session is never brought back to life by a late write."""
        for _ in range(20):
            key = _key()
            store.create(key, make_record({"n": "0"}))
            start = threading.Barrier(5)

            def write(key: str = key, start: threading.Barrier = start) -> None:
                start.wait()
                for number in range(5):
                    store.update(key, Patch(set={"n": str(number)}))

            writers = [threading.Thread(target=write) for _ in range(4)]
            for writer in writers:
                writer.start()
            start.wait()
            store.delete(key)
            for writer in writers:
                writer.join()
            assert store.load(key) is None

    # --- leases

    def test_a_lease_is_held_by_one_token(self, store: Store, make_record: Any) -> None:
        """And by another once it is released."""
        key = _key()
        store.create(key, make_record())
        assert store.acquire(key, "mine", HOUR) is True
        assert store.acquire(key, "theirs", HOUR) is False
        assert store.acquire(key, "mine", HOUR) is True
        assert store.release(key, "theirs") is False
        assert store.release(key, "mine") is True
        assert store.release(key, "mine") is False
        assert store.acquire(key, "theirs", HOUR) is True

    def test_a_lease_runs_out(self, store: Store, clock: ManualClock, make_record: Any) -> None:
        """Its token counts no more, and another may take it."""
        key = _key()
        store.create(key, make_record())
        store.acquire(key, "mine", 50 * MILLISECOND)
        self.pass_time(clock, 60 * MILLISECOND)
        assert store.update(key, Patch(set={"a": "1"}, token="mine")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        assert store.release(key, "mine") is False
        assert store.acquire(key, "theirs", HOUR) is True
        assert _values(store, key) == {}

    def test_an_absent_session_has_no_lease(self, store: Store) -> None:
        """False."""
        assert store.acquire(_key(), "mine", HOUR) is False

    def test_a_patch_with_a_token_needs_its_lease(self, store: Store, make_record: Any) -> None:
        """CONFLICT without; patches without a token take no notice of a lease."""
        key = _key()
        store.create(key, make_record())
        assert store.update(key, Patch(set={"a": "1"}, token="mine")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        store.acquire(key, "mine", HOUR)
        assert store.update(key, Patch(set={"a": "1"}, token="theirs")) is Outcome.CONFLICT  # noqa: S106 -- a lease's
        assert store.update(key, Patch(set={"a": "1"}, token="mine")) is Outcome.DONE  # noqa: S106 -- a lease's
        assert store.update(key, Patch(set={"b": "1"})) is Outcome.DONE
        assert _values(store, key) == {"a": "1", "b": "1"}

    def test_a_lease_survives_updates_and_moves_with_rename(
        self, store: Store, clock: ManualClock, make_record: Any
    ) -> None:
        """A request may change its ID while it holds the lock."""
        key, new_key = _key(), _key()
        store.create(key, make_record())
        store.acquire(key, "mine", HOUR)
        patch = Patch(expires_at=clock() + 2 * HOUR, owner="ann", token="mine")  # noqa: S106 -- a lease's
        assert store.update(key, patch) is Outcome.DONE
        assert store.rename(key, new_key, Patch(token="mine")) is Outcome.DONE  # noqa: S106 -- a lease's
        assert store.acquire(new_key, "theirs", HOUR) is False
        assert store.release(new_key, "mine") is True

    # --- owners

    def test_find_yields_the_live_sessions_of_one_owner(self, store: Store, make_record: Any) -> None:
        """With their keys, in any order; None and other owners' are not among them."""
        mine = {_key(): make_record({"n": str(number)}, owner="ann") for number in range(3)}
        for key, record in mine.items():
            store.create(key, record)
        store.create(_key(), make_record(owner="Ann"))
        store.create(_key(), make_record())
        found = dict(store.find("ann"))
        assert found.keys() == mine.keys()
        for key, record in mine.items():
            _assert_same(found[key], record)
        assert list(store.find("nobody")) == []

    def test_delete_owner_spares_one_key_and_other_owners(self, store: Store, make_record: Any) -> None:
        """Returns how many went."""
        kept, gone, other = _key(), [_key(), _key()], _key()
        for key in (kept, *gone):
            store.create(key, make_record(owner="ann"))
        store.create(other, make_record(owner="bob"))
        assert store.delete_owner("ann", keep=kept) == 2
        assert [store.load(key) is None for key in (kept, *gone, other)] == [False, True, True, False]
        assert store.delete_owner("ann") == 1
        assert store.delete_owner("ann") == 0

    def test_no_session_that_changes_its_key_escapes_delete_owner(self, store: Store, make_record: Any) -> None:
        """Once it has returned, none of the sessions that were the owner's is alive."""
        for _ in range(20):
            keys = [_key() for _ in range(4)]
            for key in keys:
                store.create(key, make_record(owner="ann"))
            new_keys = {key: _key() for key in keys}
            start = threading.Barrier(5)

            def rename(key: str, new_keys: dict[str, str] = new_keys, start: threading.Barrier = start) -> None:
                start.wait()
                store.rename(key, new_keys[key], Patch())

            movers = [threading.Thread(target=rename, args=[key]) for key in keys]
            for mover in movers:
                mover.start()
            start.wait()
            store.delete_owner("ann")
            for mover in movers:
                mover.join()
            assert [key for key in (*keys, *new_keys.values()) if store.load(key) is not None] == []

    def test_hostile_owners_survive(self, store: Store, make_record: Any) -> None:
        """An owner is any text that is not empty."""
        for owner in (*HOSTILE_KEYS[1:-1], "o" * 200):
            key = _key()
            store.create(key, make_record(owner=owner))
            assert [found for found, _ in store.find(owner)] == [key]
            assert store.delete_owner(owner) == 1

    # --- life

    def test_setup_is_idempotent_and_keeps_sessions(self, store: Store, make_record: Any) -> None:
        """Also when many workers start at once."""
        key = _key()
        store.create(key, make_record({"a": "1"}))
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.setup(), range(8)))
        assert _values(store, key) == {"a": "1"}

    def test_a_closed_store_opens_again(self, store: Store, make_record: Any) -> None:
        """`close` lets go of connections, not of the store."""
        store.close()
        store.close()
        key = _key()
        assert store.create(key, make_record()) is True
        assert store.load(key) is not None


def _key() -> str:
    return secrets.token_hex(32)


def _values(store: Store, key: str) -> dict[str, str] | None:
    record = store.load(key)
    return None if record is None else dict(record.values)


def _at_millisecond(instant: datetime) -> datetime:
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _assert_same(loaded: Record | None, record: Record) -> None:
    assert loaded is not None
    assert dict(loaded.values) == record.values
    assert loaded.owner == record.owner
    for name in ("created_at", "touched_at", "expires_at"):
        ours, theirs = getattr(loaded, name), getattr(record, name)
        assert ours.utcoffset() == timedelta(0)
        assert _at_millisecond(ours) == _at_millisecond(theirs)
