"""One of several processes that write to the same sessions: `python writers.py ROLE FILE PROCESS COUNT ID...`."""

import sys
from concurrent.futures import ThreadPoolExecutor

from wsgisessions import SessionManager, SQLiteStore, merge

THREADS = 8


def write_keys(store, session_id, writer, count):
    """Set keys that no other writer sets, each in a request of its own; return how many were lost.

    Before a key is set again, it must still be as it was left.
    """
    manager = SessionManager(store)
    left = {}
    lost = 0
    for number in range(count):
        key = f"{writer}.{number % 10}"
        session = manager.open(session_id)
        lost += session.get(key) != left.get(key)
        session[key] = left[key] = number
        session.save()
    stored = dict(manager.open(session_id))
    return lost + sum(stored.get(key) != number for key, number in left.items())


def write_keys_in_threads(store, session_id, process, count):
    with ThreadPoolExecutor(THREADS) as pool:
        writers = [pool.submit(write_keys, store, session_id, f"{process}.{t}", count) for t in range(THREADS)]
        assert sum(writer.result() for writer in writers) == 0


def add_under_lock(store, session_id, process, count):
    manager = SessionManager(store)
    for _ in range(count):
        session = manager.open(session_id)
        with session.lock(timeout=120):
            session["n"] += 1


def add_by_merging(store, session_id, process, count):
    manager = SessionManager(store, merges={"n": merge.add, "items": merge.extend})
    for number in range(count):
        session = manager.open(session_id)
        session["n"] += 1
        if number % 10 == 0:
            session["items"].append([process, number])
        session.save()


ROLES = {"write": write_keys_in_threads, "lock": add_under_lock, "merge": add_by_merging}

if __name__ == "__main__":
    role, path, process, count, *session_ids = sys.argv[1:]
    for session_id in session_ids:
        ROLES[role](SQLiteStore(path, timeout=60), session_id, int(process), int(count))
