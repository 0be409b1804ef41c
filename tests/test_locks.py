"""Taking turns with `session.lock()`."""

import threading
import time
from datetime import timedelta

import pytest

from wsgisessions import (
    ConfigurationError,
    LockLost,
    LockTimeout,
    MemoryStore,
    OnInactivity,
    OnSessionEnd,
    SessionInterrupted,
    SessionManager,
)
from wsgisessions.session_ids import SessionID


@pytest.fixture
def manager(store):
    return SessionManager(store)


@pytest.fixture
def session_id(manager):
    session = manager.open()
    session["n"] = 0
    session.save()
    return session.id


def test_threads_take_turns(manager, session_id):
    def add():
        for _ in range(25):
            session = manager.open(session_id)
            with session.lock():
                session["n"] += 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert manager.open(session_id)["n"] == 200


def test_a_lock_sees_what_was_stored_before_it_was_had(manager, session_id):
    session = manager.open(session_id)
    assert session["n"] == 0
    other = manager.open(session_id)
    other["n"] = 5
    other.save()
    with session.lock():
        session["n"] += 1
    assert manager.open(session_id)["n"] == 6


def test_what_was_written_before_the_lock_is_kept(manager, session_id):
    session = manager.open(session_id)
    session["before"] = 1
    with session.lock():
        assert session["before"] == 1
    assert dict(manager.open(session_id)) == {"n": 0, "before": 1}


def test_the_changes_are_there_when_the_lock_is_let_go(manager, session_id):
    with manager.open(session_id).lock():
        pass
    session = manager.open(session_id)
    with session.lock():
        session["n"] = 7
    assert manager.open(session_id)["n"] == 7


def test_an_exception_undoes_what_was_written_inside(manager, session_id):
    session = manager.open(session_id)
    with pytest.raises(ZeroDivisionError), session.lock():
        session["n"] = 99
        raise ZeroDivisionError
    session.save()
    assert manager.open(session_id)["n"] == 0
    with manager.open(session_id).lock(timeout=0):
        pass


def test_a_lock_inside_the_lock_is_the_same_one(manager, session_id):
    session = manager.open(session_id)
    with session.lock(timeout=0.2), session.lock(timeout=0.2):
        session["n"] += 1
    assert manager.open(session_id)["n"] == 1


def test_another_thread_waits_in_vain(manager, session_id):
    with manager.open(session_id).lock():
        errors = []

        def wait():
            try:
                with manager.open(session_id).lock(timeout=0.05):
                    pass
            except LockTimeout as error:
                errors.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert errors == ["another request held the session's lock for 0.05 s; try again later"]


def test_another_process_waits_in_vain(store, session_id):
    # Two managers share no thread locks, as two processes do.
    with SessionManager(store).open(session_id).lock():
        with pytest.raises(LockTimeout), SessionManager(store).open(session_id).lock(timeout=0.05):
            pass


def test_a_lease_that_ran_out_writes_nothing(store, manager, session_id):
    session = manager.open(session_id)
    with pytest.raises(LockLost, match="nothing was saved"), session.lock(lease=0.01):
        session["n"] = 99
        time.sleep(0.05)
        with SessionManager(store).open(session_id).lock():
            pass
    assert manager.open(session_id)["n"] == 0


def test_the_id_may_change_inside_the_lock(manager, session_id):
    session = manager.open(session_id)
    with session.lock():
        session.login("ann")
        session["n"] += 1
    assert session.id != session_id
    with manager.open(session.id).lock(timeout=0):
        pass
    assert dict(manager.open(session.id)) == {"n": 1}


def test_a_flush_inside_the_lock_ends_the_session(manager, session_id):
    session = manager.open(session_id)
    with session.lock():
        session.flush()
    assert manager.open(session_id).is_new


def test_what_is_written_after_a_flush_inside_the_lock_may_be_saved_step_by_step(manager, session_id):
    session = manager.open(session_id)
    with session.lock():
        session.flush()
        session["n"] = 1
        session.save()
        session["n"] = 2
    assert manager.open(session.id)["n"] == 2
    assert manager.open(session_id).is_new


def test_a_session_that_ended_while_one_waited_is_interrupted(store, session_id):
    waiting = SessionManager(store).open(session_id)
    assert waiting["n"] == 0
    SessionManager(store).open(session_id)
    with SessionManager(store).open(session_id).lock():
        store.delete(SessionID(session_id).id_hash)
        with pytest.raises(SessionInterrupted), waiting.lock(timeout=1):
            pass


def test_an_exception_undoes_what_was_written_inside_a_new_session_too(manager):
    session = manager.open()
    with pytest.raises(ZeroDivisionError), session.lock():
        session["n"] = 99
        raise ZeroDivisionError
    session.save()
    assert session.is_new


@pytest.mark.parametrize("how", ["lock", "reload"])
def test_a_look_before_the_session_is_loaded_anew_counts(how, manager, session_id):
    session = manager.open(session_id)
    data = session["n"]

    def write():
        manager.revoke(SessionID(session_id).id_hash)
        session["copy"] = data
        session.save()

    if how == "reload":
        session.reload()
        with pytest.raises(SessionInterrupted):
            write()
    else:
        with pytest.raises(SessionInterrupted), session.lock():
            write()


def test_an_exception_undoes_an_expiry_too(manager, session_id):
    session = manager.open(session_id)
    with pytest.raises(ZeroDivisionError), session.lock():
        session.expiry = OnInactivity(timedelta(days=365))
        raise ZeroDivisionError
    assert session.expiry == OnSessionEnd()


def test_a_new_session_has_nobody_to_wait_for(manager):
    session = manager.open()
    with session.lock():
        session["n"] = 1
    assert manager.open(session.id)["n"] == 1


@pytest.mark.parametrize("options", [{"timeout": -1}, {"lease": 0}, {"timeout": timedelta(seconds=1)}])
def test_times_that_make_no_sense_are_refused(manager, options):
    with pytest.raises(ConfigurationError), manager.open().lock(**options):
        pass


def test_a_held_lock_costs_others_nothing_but_their_turn():
    store = MemoryStore()
    manager = SessionManager(store)
    session = manager.open()
    session["n"] = 1
    session.save()
    with manager.open(session.id).lock():
        bystander = manager.open(session.id)
        bystander["other"] = 1
        bystander.save()
    assert dict(manager.open(session.id)) == {"n": 1, "other": 1}
