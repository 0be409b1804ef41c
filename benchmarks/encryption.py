"""What does encryption at rest cost a read and a write? See README.md beside this file."""

import argparse
import gc
import platform
import secrets
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

from wsgisessions import MemoryStore, SessionManager

SIZES = (1, 20, 200)
BATCH = 100
VALUE = "a text of fifty characters, as an address or a name"


def start(manager: SessionManager, size: int) -> str:
    """Store a session of so many keys, and return its ID."""
    session = manager.open()
    session.update({f"key{number}": VALUE for number in range(size)}, n=0)
    del session[f"key{size - 1}"]
    session.save()
    if session.id is None:
        raise RuntimeError("nothing was stored")
    return session.id


def read(manager: SessionManager, session_id: str) -> None:
    """Open the session, and read a key."""
    if "n" not in manager.open(session_id):
        raise RuntimeError("the session is not read")


def write(manager: SessionManager, session_id: str) -> None:
    """Open the session, and count a key up."""
    session = manager.open(session_id)
    session["n"] = session["n"] + 1
    session.save()


def batch(visit: Callable[[SessionManager, str], None], manager: SessionManager, session_id: str) -> float:
    """Return the microseconds of a visit, as the mean of a batch."""
    started = time.perf_counter_ns()
    for _ in range(BATCH):
        visit(manager, session_id)
    return (time.perf_counter_ns() - started) / BATCH / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="two rounds, which say nothing about speed")
    options = parser.parse_args()
    managers = {
        "plain": SessionManager(MemoryStore()),
        "encrypted": SessionManager(MemoryStore(), encryption_keys=[secrets.token_urlsafe(32)]),
    }
    ids = {(kind, size): start(manager, size) for kind, manager in managers.items() for size in SIZES}
    times: dict[tuple[int, str, str], list[float]] = {}
    gc.disable()
    for _ in range(2 if options.quick else options.rounds):
        for size in SIZES:
            for visit in (read, write):
                for kind, manager in managers.items():
                    took = batch(visit, manager, ids[kind, size])
                    times.setdefault((size, visit.__name__, kind), []).append(took)
        gc.collect()
    print(f"Python {platform.python_version()}, cryptography {version('cryptography')}, {platform.machine()}\n")
    print("| keys | request | plain, µs | encrypted, µs | more, µs |")
    print("|-----:|---------|----------:|--------------:|---------:|")
    for size in SIZES:
        for visit in (read, write):
            plain, encrypted = (statistics.median(times[size, visit.__name__, kind]) for kind in managers)
            print(f"| {size} | {visit.__name__} | {plain:.0f} | {encrypted:.0f} | {encrypted - plain:.0f} |")


if __name__ == "__main__":
    main()
