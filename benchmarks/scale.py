"""How do many sessions change the cost of one, and who feels a purge? See README.md beside this file."""

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import servers

from wsgisessions import MongoDBStore, MySQLStore, Outcome, Patch, PostgresStore, Record, RedisStore, Store
from wsgisessions.record import utc_now

SIZES = {"Redis": 1_000_000, "PostgreSQL": 1_000_000, "MariaDB": 1_000_000, "MongoDB": 100_000}
STORES = {
    "Redis": (servers.Redis, RedisStore),
    "PostgreSQL": (servers.Postgres, PostgresStore),
    "MariaDB": (servers.MariaDB, MySQLStore),
    "MongoDB": (servers.MongoDB, MongoDBStore),
}
# A cache that holds them all, as PostgreSQL has in the operating system's.
OPTIONS = {"MariaDB": ["--innodb-buffer-pool-size=1G"]}
CALLS = 3000
THREADS = 4
SECONDS = 20
TOUCHES = 100_000

# Sessions are numbered, and their ID hashes are the numbers in 64 digits; the odd ones may expire early.
FILL_POSTGRES = """
INSERT INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at, purge_at, owner)
SELECT lpad(n::text, 64, '0'), '{"n": "1", "name": "\\"ann\\""}', now(), now(), now() + life, now() + life,
    'owner ' || n / 3
FROM (SELECT n, interval '1 day' + n * interval '1 millisecond' AS life
    FROM generate_series(%s::int, %s::int) AS n) AS new"""

FILL_MARIADB = """
INSERT INTO wsgisessions (id_hash, fields, created_at, touched_at, expires_at, owner)
SELECT lpad(seq, 64, '0'), '{"n":"1","name":"\\\\"ann\\\\""}', utc_timestamp(6), utc_timestamp(6),
    utc_timestamp(6) + INTERVAL 1 DAY + INTERVAL seq * 1000 MICROSECOND, concat('owner ', seq DIV 3)
FROM seq_%d_to_%d"""

FILL_REDIS = """
local now = redis.call('TIME')[1] * 1000000
for n = ARGV[1], ARGV[2] do
    local name, deadline = 'wsgisessions:' .. string.format('%064d', n), string.format('%.0f', now + 86400000000)
    redis.call('HSET', name, 'created_at', deadline, 'touched_at', deadline, 'expires_at', deadline, '=n', '1',
        '=name', '"ann"')
    redis.call('PEXPIREAT', name, string.format('%.0f', deadline / 1000))
end"""

EXPIRE_POSTGRES = """
UPDATE wsgisessions SET expires_at = now() - interval '1 hour', purge_at = now() - interval '1 hour'
WHERE right(id_hash, 1) IN ('1', '3', '5', '7', '9')"""

EXPIRE_MARIADB = """
UPDATE wsgisessions SET expires_at = utc_timestamp(6) - INTERVAL 1 HOUR
WHERE right(id_hash, 1) IN ('1', '3', '5', '7', '9')"""


def id_hash_of(number: int) -> str:
    return f"{number:064}"


def fill(kind: str, server: servers.Server, store: Store, first: int, last: int) -> None:
    """Store the sessions with these numbers, by the engine's own means."""
    if kind == "PostgreSQL":
        server.run(FILL_POSTGRES, first, last)
        server.run("VACUUM ANALYZE wsgisessions")
    elif kind == "MariaDB":
        server.run(FILL_MARIADB % (first, last))
        server.run("ANALYZE TABLE wsgisessions")
    elif kind == "Redis":
        for start in range(first, last + 1, 10_000):
            server.run("EVAL", FILL_REDIS, 0, start, min(start + 9_999, last))
    else:
        now = utc_now()
        times = {"created_at": now, "touched_at": now, "expires_at": now + timedelta(days=1)}
        with store._collection() as collection:
            for start in range(first, last + 1, 10_000):
                numbers = range(start, min(start + 10_000, last + 1))
                collection.insert_many([{"id_hash": id_hash_of(n), "fields": {"n": "1"}, **times} for n in numbers])


def expire_half(kind: str, server: servers.Server, store: Store) -> None:
    if kind == "PostgreSQL":
        server.run(EXPIRE_POSTGRES)
        server.run("VACUUM ANALYZE wsgisessions")
    elif kind == "MariaDB":
        server.run(EXPIRE_MARIADB)
    else:
        with store._collection() as collection:
            past = utc_now() - timedelta(hours=1)
            collection.update_many({"id_hash": {"$regex": "[13579]$"}}, {"$set": {"expires_at": past}})


@contextmanager
def started(kind: str) -> Iterator[tuple[servers.Server, Store]]:
    server_class, store_class = STORES[kind]
    with server_class(*OPTIONS.get(kind, ())) as server:
        store = store_class(server.url, timeout=60)
        store.setup()
        yield server, store
        store.close()


def median_of(call: Callable[[str], object], size: int) -> float:
    """Return the median time in µs of a call on sessions at random."""
    numbers, times = random.Random(0), []
    for _ in range(CALLS):
        id_hash = id_hash_of(2 * numbers.randrange(1, max(2, size // 2)))
        started_at = time.perf_counter()
        assert call(id_hash)
        times.append(time.perf_counter() - started_at)
    return statistics.median(times) * 1e6


def change(store: Store, id_hash: str) -> bool:
    return store.update(id_hash, Patch(set={"n": str(random.random())})) is Outcome.DONE


def show_growth(share: float) -> None:
    """Time load and update while the number of stored sessions grows."""
    print("| server       |   sessions |  load µs | update µs |\n|--------------|-----------:|---------:|----------:|")
    for kind, most in SIZES.items():
        with started(kind) as (server, store):
            stored = 0
            for size in (int(each * share) for each in (1_000, 100_000, 1_000_000) if each <= most):
                fill(kind, server, store, stored + 1, size)
                stored = size
                load = median_of(store.load, size)
                update = median_of(partial(change, store), size)
                print(f"| {kind:<12} | {size:>10,} | {load:>8.0f} | {update:>9.0f} |", flush=True)


def show_purge(share: float) -> None:
    """Time the requests of four threads with and without a purge beside them."""
    print("\n| server       |  sessions |   purged |  purge s | p99 ms | p99 ms in the purge | requests |")
    print("|--------------|----------:|---------:|---------:|-------:|--------------------:|---------:|")
    for kind in ("PostgreSQL", "MariaDB", "MongoDB"):
        size = int(SIZES[kind] * share)
        with started(kind) as (server, store):
            fill(kind, server, store, 1, size)
            alone, _, _ = request_times(store, size, lambda: time.sleep(SECONDS * share))
            # Not before: MongoDB's own reaper would come first.
            expire_half(kind, server, store)
            purged = [0]

            def purge(store: Store = store, purged: list[int] = purged) -> None:
                while batch := store.delete_expired():
                    purged[0] += batch

            beside, seconds, count = request_times(store, size, purge)
            print(
                f"| {kind:<12} | {size:>9,} | {purged[0]:>8,} | {seconds:>8.1f} | {alone:>6.1f} | {beside:>19.1f} |"
                f" {count:>8,} |",
                flush=True,
            )


def request_times(store: Store, size: int, beside: Callable[[], None]) -> tuple[float, float, int]:
    """Let threads read and write live sessions while something else runs.

    Return the 99th percentile in ms of a request, how long the other took in s, and the number of requests.
    """
    is_over, times = threading.Event(), [[] for _ in range(THREADS)]

    def visit(thread: int) -> None:
        numbers = random.Random(thread)
        while not is_over.is_set():
            id_hash = id_hash_of(2 * numbers.randrange(1, size // 2))
            started_at = time.perf_counter()
            assert store.load(id_hash)
            store.update(id_hash, Patch(set={"n": str(numbers.random())}))
            times[thread].append(time.perf_counter() - started_at)

    visitors = [threading.Thread(target=visit, args=[thread]) for thread in range(THREADS)]
    for visitor in visitors:
        visitor.start()
    started_at = time.monotonic()
    beside()
    seconds = time.monotonic() - started_at
    is_over.set()
    for visitor in visitors:
        visitor.join()
    every = sorted(each for one in times for each in one)
    return every[int(len(every) * 0.99)] * 1000, seconds, len(every)


def show_touches(share: float) -> None:
    """Touch sessions in PostgreSQL, and show what that left in the table and its indexes."""
    touches, sessions = int(TOUCHES * share), 1000
    with started("PostgreSQL") as (server, store):
        now = utc_now()
        for number in range(sessions):
            record = Record({"n": "1", "name": "x" * 200}, now, now, now + timedelta(hours=1), f"owner {number}")
            store.create(id_hash_of(number), record)
        before = relation_sizes(server)
        threads = [threading.Thread(target=touch, args=[store, n, touches // THREADS]) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()  # a connection reports its statistics at the latest when it ends
        time.sleep(2)
        statistics_of = "n_tup_upd, n_tup_hot_upd, n_dead_tup, autovacuum_count"
        updated, hot, dead, vacuums = server.run(f"SELECT {statistics_of} FROM pg_stat_user_tables")[0]  # noqa: S608
        print(f"\nPostgreSQL, {sessions:,} sessions touched {updated:,} times: {hot / updated:.1%} heap-only,")
        print(f"{dead:,} dead tuples, {vacuums} autovacuums; bytes before and after:")
        for (name, was), (_, is_now) in zip(before, relation_sizes(server), strict=True):
            print(f"    {name:<24} {was:>10,} {is_now:>10,}")


def touch(store: Store, thread: int, count: int) -> None:
    for number in range(count):
        deadline = utc_now() + timedelta(hours=1, microseconds=number)
        store.update(id_hash_of((number * THREADS + thread) % 1000), Patch(expires_at=deadline))


def relation_sizes(server: servers.Postgres) -> list[tuple[str, int]]:
    return server.run(
        "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname LIKE 'wsgisessions%' ORDER BY relname"
    )


PARTS = {"growth": show_growth, "purge": show_purge, "touches": show_touches}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--share", type=float, default=1.0, help="how much of it all to do, such as 0.01")
    options = parser.parse_args()
    for name, show in PARTS.items():
        if options.only in (None, name):
            show(options.share)


if __name__ == "__main__":
    main()
