"""Whatever a visitor's requests do to a session, it stays what a plain dict would be."""

from datetime import datetime, timezone

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wsgisessions import MemoryStore, SessionInterrupted, SessionManager, SQLiteStore

FAR_OFF = datetime(9000, 1, 1, tzinfo=timezone.utc)
keys = st.sampled_from(["a", "b", "c", "a.b", "$set", "é"])
values = st.one_of(
    st.integers(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.lists(st.integers())
)


class Visits(RuleBasedStateMachine):
    """One session is used by request after request; `stored` is what must be in the store."""

    def make_store(self):
        return MemoryStore()

    @initialize()
    def start(self):
        self.manager = SessionManager(self.make_store())
        self.session_id = None
        self.stored = {}
        self.owner = self.stored_owner = None
        self.begin()

    def begin(self):
        if self.session_id is None:
            self.owner = None
        self.session = self.manager.open(self.session_id)
        self.model = {key: list(value) if isinstance(value, list) else value for key, value in self.stored.items()}

    def commit(self):
        self.session.save()
        self.session_id = self.session.id
        self.stored_owner = self.owner
        self.stored = {key: list(value) if isinstance(value, list) else value for key, value in self.model.items()}

    @rule(key=keys, value=values)
    def assign(self, key, value):
        self.session[key] = list(value) if isinstance(value, list) else value
        self.model[key] = value

    @rule(key=keys)
    def remove(self, key):
        assert self.session.pop(key, None) == self.model.pop(key, None)

    @rule(key=keys)
    def append(self, key):
        if isinstance(self.model.get(key), list):
            self.session[key].append(1)
            self.model[key] = [*self.model[key], 1]

    @rule()
    def clear(self):
        self.session.clear()
        self.model.clear()
        self.owner = None

    @rule(owner=st.sampled_from(["ann", "bob"]))
    def log_in(self, owner):
        before = self.session.owner
        assert before == self.owner
        self.session.login(owner)
        self.owner = owner
        if before not in (None, owner):
            # The first owner's session is flushed, which nothing undoes.
            self.model.clear()
            self.commit()

    @precondition(lambda self: self.session_id is not None)
    @rule(owner=st.sampled_from(["ann", "bob"]))
    def another_request_logs_in(self, owner):
        """The old ID is nobody's, a write under it is interrupted, and a second login has what was there before."""
        self.commit()
        if self.session_id is None:
            return
        old, before, was_owned = self.session_id, dict(self.manager.open(self.session_id)), self.owner
        other = self.manager.open(old)
        other.login(owner)
        other.save()
        late = self.manager.open(old)
        late["late"] = 1
        with pytest.raises(SessionInterrupted):
            late.save()
        second = self.manager.open(old)
        assert (second.owner, second.id) == (None, None)
        assert dict(second) == ({} if was_owned else before)
        second.login(owner)
        second.save()
        assert second.id not in (old, other.id)
        self.session_id, self.owner, self.stored_owner = other.id, owner, owner
        if was_owned not in (None, owner):
            self.stored = {}
        self.begin()

    @rule()
    def save(self):
        self.commit()

    @rule()
    def next_request(self):
        self.commit()
        self.begin()

    @rule()
    def failed_request(self):
        self.manager.abandon(self.session, can_deliver=True)
        self.session_id = self.session.id
        self.owner = self.stored_owner
        self.begin()

    @rule()
    def reload(self):
        self.session.reload()
        self.owner = self.stored_owner
        self.model = {key: list(value) if isinstance(value, list) else value for key, value in self.stored.items()}

    @rule()
    def flush(self):
        old = self.session_id
        self.session.flush()
        self.model.clear()
        self.owner = None
        self.commit()
        assert old is None or self.manager.open(old).is_new

    @precondition(lambda self: self.session_id is not None)
    @rule()
    def cycle(self):
        old = self.session_id
        self.session.cycle_id()
        self.commit()
        assert self.manager.open(old).is_new

    @rule(key=keys, value=st.integers())
    def another_request_writes(self, key, value):
        if self.session_id is None or key in self.model or key in self.stored:
            return
        other = self.manager.open(self.session_id)
        other["other"] = value
        other.save()
        self.session["other"] = self.model["other"] = self.stored["other"] = value

    @invariant()
    def the_session_is_the_model(self):
        assert list(self.session) == list(self.session.keys())
        assert dict(self.session) == self.model
        assert len(self.session) == len(self.model)
        assert all(key in self.session for key in self.model)

    @invariant()
    def the_store_has_what_was_committed(self):
        found = dict(self.manager.open(self.session_id))
        found.pop("other", None)
        assert found == {key: value for key, value in self.stored.items() if key != "other"}


class VisitsOnSQLite(Visits):
    def make_store(self):
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        return SQLiteStore(Path(self.folder.name) / "sessions.db")

    def teardown(self):
        self.manager.store.close()
        self.folder.cleanup()


class VisitsWhileEncryptionIsSwitchedOn(Visits):
    @rule()
    def switch_on(self):
        self.commit()
        self.manager = SessionManager(
            self.manager.store, encryption_keys=["a secret key" * 4], read_plain_until=FAR_OFF
        )
        self.begin()


TestVisits = Visits.TestCase
TestVisitsWhileEncryptionIsSwitchedOn = VisitsWhileEncryptionIsSwitchedOn.TestCase
TestVisitsWhileEncryptionIsSwitchedOn.settings = settings(max_examples=100)
TestVisitsOnSQLite = VisitsOnSQLite.TestCase
TestVisits.settings = settings(max_examples=100)
TestVisitsOnSQLite.settings = settings(max_examples=20)
