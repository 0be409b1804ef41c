"""What does a session cost on a server, beside the bare driver and beside the peers? See README.md beside this file."""

import argparse
import gc
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import servers
from chart import draw
from drivers import Command, opponents
from overhead import LABELS, Client, check, measure
from peers import Contestant
from store_peers import USE, contestants_on

PARTS = ("drivers", "peers", "wire", "lost")
SERVERS = {
    "Redis": servers.Redis,
    "PostgreSQL": servers.Postgres,
    "MariaDB": servers.MariaDB,
    "MongoDB": servers.MongoDB,
}
CORES = sorted(os.sched_getaffinity(0))
BATCH = 100
KEYS, VALUE_SIZE = 64, 1024
REQUESTS_AT_ONCE = 4
MOST_OF_DRIVER = 1.25
LEAST_OF_PEERS = {"read": 2.0, "read+write": 1.3}

Results = dict[tuple[str, str], tuple[float, ...]]


@contextmanager
def started(kind: str) -> Iterator[str | None]:
    """Start a server on the last core, leaving the first to the benchmark; yield its URL, or None if it is missing."""
    if missing := SERVERS[kind].missing():
        print(f"left out: {kind} ({', '.join(missing)} not installed)")
        yield None
        return
    os.sched_setaffinity(0, CORES[-1:])
    try:
        with SERVERS[kind]() as server:
            os.sched_setaffinity(0, CORES[:1])
            yield server.url
    finally:
        os.sched_setaffinity(0, CORES)


def report_goal(claim: str, ratio: float, goal: str, is_reached: bool) -> None:
    print(f"{claim:58} {ratio:6.2f}   goal {goal}   {'reached' if is_reached else 'MISSED'}")


# --- beside the drivers


def batch(command: Command) -> float:
    """Return the microseconds of a command, as the mean of a batch."""
    begun = time.perf_counter_ns()
    for _ in range(BATCH):
        command()
    return (time.perf_counter_ns() - begun) / BATCH / 1000


def take_turns(commands: list[Command], rounds: int) -> list[float]:
    """Return the median microseconds of each command."""
    times: list[list[float]] = [[] for _ in commands]
    for command in commands:
        batch(command)
    gc.disable()
    for _ in range(rounds):
        for command, own_times in zip(commands, times, strict=True):
            own_times.append(batch(command))
        gc.collect()
    gc.enable()
    return [statistics.median(each) for each in times]


def report_drivers(rounds: int) -> None:
    print(f"\nµs of the driver's bare commands and of a session, median of {rounds} rounds\n")
    print(f"| {'server':12} | {'work':12} | {'driver':>8} | {'session':>8} | {'ratio':>6} |")
    print(f"|{'-' * 14}|{'-' * 14}|{'-' * 9}:|{'-' * 9}:|{'-' * 7}:|")
    ratios = {}
    for kind in SERVERS:
        with started(kind) as url:
            if url is None:
                continue
            driver, ours = opponents(kind, url)
            times = take_turns([*driver, *ours], rounds)
        for index, label in enumerate(LABELS[1:]):
            bare, session = times[index], times[index + 2]
            ratios[kind, label] = session / bare
            print(f"| {kind:12} | {label:12} | {bare:8.0f} | {session:8.0f} | {session / bare:6.2f} |")
    print()
    for (kind, label), ratio in ratios.items():
        report_goal(f"{label} on {kind}, ours / driver", ratio, f"≤ {MOST_OF_DRIVER}", ratio <= MOST_OF_DRIVER)


# --- beside the peers


def report_peers(field: Mapping[str, list[Contestant]], rounds: int) -> Results:
    results: Results = {}
    for contestants in field.values():
        results |= {key: times[1:] for key, times in measure(check(contestants), rounds).items()}
    print(f"\nµs in the session layer, median of {rounds} rounds\n")
    print(f"| {'layer':36} | {' | '.join(f'{label:>10}' for label in LABELS[1:])} |")
    print(f"|{'-' * 38}|{'|'.join('-' * 11 + ':' for _ in LABELS[1:])}|")
    for (name, kind), times in results.items():
        print(f"| {f'{name}, {kind}':36} | {' | '.join(f'{each:10.0f}' for each in times)} |")
    print()
    for kind in field:
        compare(kind, results)
    return results


def compare(kind: str, results: Results) -> None:
    """Say how many times the time of ours the fastest peer takes."""
    ours = results["wsgisessions", kind]
    peers = [(times, name) for (name, where), times in results.items() if where == kind and name != "wsgisessions"]
    for index, label in enumerate(LABELS[1:] if peers else ()):
        time, name = min((times[index], name) for times, name in peers)
        ratio, least = time / ours[index], LEAST_OF_PEERS[label]
        report_goal(f"{label} on {kind}, {name} / ours", ratio, f"≥ {least}", ratio >= least)


# --- bytes on the wire


def use(client: Client, function: Callable[[Any], None]) -> None:
    """Let a request of this client hand its session to a function."""
    client.environ[USE] = function
    client.visit("/use")


def bytes_of_change(contestant: Contestant, received: Callable[[], int], value_size: int) -> int:
    """Return how many bytes Redis receives between a change of one key and the end of the request."""
    client = Client(contestant.app)
    use(client, lambda session: session.update({f"key{number}": "a" * VALUE_SIZE for number in range(KEYS)}))
    counts: list[int] = []

    def change(session, letter):
        if session["key7"] == letter * value_size:
            raise RuntimeError("nothing to change")
        counts[:] = [received(), received()]
        session["key7"] = letter * value_size

    # The first change also opens connections and teaches the server a script.
    use(client, partial(change, letter="b"))
    use(client, partial(change, letter="c"))
    before, start = counts
    cost_of_asking = start - before
    return received() - start - cost_of_asking


def report_wire(contestants: list[Contestant], url: str) -> None:
    import redis

    client = redis.Redis.from_url(url)

    def received() -> int:
        return client.info("stats")["total_net_input_bytes"]

    print(
        f"\nbytes that Redis receives when one of {KEYS} keys of {VALUE_SIZE} bytes becomes 1 byte, or as many others\n"
    )
    for contestant in contestants:
        small, whole = (bytes_of_change(contestant, received, size) for size in (1, VALUE_SIZE))
        print(f"{contestant.name:24} {small:8,} {whole:8,}")


# --- lost updates


def lost_updates(contestant: Contestant, rounds: int) -> int:
    """Return how many changes are missing after rounds of requests at once, each of which sets a key of its own."""
    visitor = Client(contestant.app)
    visitor.visit("/write")
    meeting = threading.Barrier(REQUESTS_AT_ONCE, timeout=30)

    def set_key(key):
        client = Client(contestant.app)
        client.environ |= visitor.environ

        def change(session):
            session.get("n")
            meeting.wait()
            session[key] = 1

        use(client, change)

    lost = 0
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        for number in range(rounds):
            keys = [f"{number}-{request}" for request in range(REQUESTS_AT_ONCE)]
            list(threads.map(set_key, keys))
            kept: list[str] = []
            use(visitor, lambda session, kept=kept: kept.extend(session.keys()))
            lost += len(set(keys) - set(kept))
    return lost


def report_lost(contestants: list[Contestant], rounds: int) -> None:
    print(
        f"\nchanges lost of {rounds * REQUESTS_AT_ONCE}, {REQUESTS_AT_ONCE} requests of a session at once, on Redis\n"
    )
    for contestant in contestants:
        print(f"{contestant.name:24} {lost_updates(contestant, rounds):8}")


# --- all of it


def report_beside_peers(parts: set[str], rounds: int, chart: Path | None) -> None:
    with ExitStack() as stack:
        kinds = ("Redis", "PostgreSQL") if "peers" in parts else ("Redis",)
        found = {kind: stack.enter_context(started(kind)) for kind in kinds}
        urls = {kind: url for kind, url in found.items() if url is not None}
        if "peers" in parts:
            urls["SQLite"] = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/sessions.db"
        field = contestants_on(urls)
        if "peers" in parts:
            results = report_peers(field, rounds)
            if chart:
                chart.write_text(draw(results, LABELS[1:]), encoding="utf-8")
        if "wire" in parts and "Redis" in urls:
            report_wire(field["Redis"], urls["Redis"])
        if "lost" in parts and "Redis" in urls:
            report_lost(field["Redis"], min(rounds, 20))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--quick", action="store_true", help="a few rounds, to see that it works")
    parser.add_argument("--only", choices=PARTS, help="run this part alone")
    parser.add_argument("--chart", type=Path, help="write a chart of the peers to this file")
    options = parser.parse_args()
    parts = {options.only} if options.only else set(PARTS)
    if options.chart and "peers" not in parts:
        parser.error("the chart is of the peers")
    rounds = 2 if options.quick else options.rounds
    print(f"Python {sys.version.split()[0]}")
    if "drivers" in parts:
        report_drivers(rounds)
    if parts != {"drivers"}:
        report_beside_peers(parts, rounds, options.chart)


if __name__ == "__main__":
    main()
