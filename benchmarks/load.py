"""How does a site under load do, and what does it lose when things break? See README.md beside this file."""

import argparse
import http.client
import json
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import servers

HERE = Path(__file__).parent
WORKERS = THREADS = 4
CONNECTIONS = 64
AT_ONCE = 4


@contextmanager
def site(layer: str, redis_url: str) -> Iterator[tuple[int, subprocess.Popen]]:
    """Serve load_app.py by gunicorn; yield its port and process."""
    port = servers.free_port()
    command = ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS), "--threads", str(THREADS)]
    environ = {**os.environ, "LAYER": layer, "REDIS": redis_url}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            # Without a port of its own each, one worker may take nearly all of wrk's connections.
            [sys.executable, *command, "--worker-class", "gthread", "--reuse-port", "load_app:app"],
            cwd=HERE,
            env=environ,
            stdout=log,
            stderr=log,
        )
        try:
            give_up_at = time.monotonic() + 30
            while ask(port, "GET", "/untouched")[0] != 200:
                if time.monotonic() > give_up_at:
                    raise RuntimeError("the site does not answer")
                time.sleep(0.1)
            yield port, process
        finally:
            process.terminate()
            process.wait(30)


def ask(port: int, method: str, path: str, cookie: str = "") -> tuple[int, str, str]:
    """Return a response's status (0: the connection was closed), its body and its cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        body = response.read().decode()
        return response.status, body, (response.headers["Set-Cookie"] or "").partition(";")[0]
    except (OSError, http.client.HTTPException):
        return 0, "", ""
    finally:
        connection.close()


# --- throughput


def wrk(port: int, path: str, cookie: str, seconds: float) -> tuple[float, float, float, int]:
    """Return requests a second, the median and 99th percentile of their ms, and the number of errors."""
    command = ["wrk", "--latency", "-t2", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    url = f"http://127.0.0.1:{port}{path}"
    out = subprocess.run([*command, "-H", f"Cookie: {cookie}", url], capture_output=True, text=True, check=True).stdout
    errors = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", out))
    return (
        float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]),
        milliseconds(re.search(r"50%\s+(\S+)", out)[1]),
        milliseconds(re.search(r"99%\s+(\S+)", out)[1]),
        errors,
    )


def milliseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s)", text)
    return float(found[1]) * {"us": 0.001, "ms": 1, "s": 1000}[found[2]] if found else math.nan


def show_throughput(seconds: float, rounds: int) -> None:
    pages = [
        ("none", "/untouched"),
        ("wsgisessions", "/untouched"),
        ("wsgisessions", "/read"),
        ("flask-session", "/read"),
        ("flask-session-0", "/read"),
        ("wsgisessions", "/write"),
        ("flask-session", "/write"),
    ]
    results: dict[tuple[str, str], list[tuple[float, float, float, int]]] = {page: [] for page in pages}
    with servers.Redis() as redis:
        for _ in range(rounds):
            for layer, path in pages:
                with site(layer, redis.url) as (port, _):
                    cookie = ask(port, "GET", "/write")[2] if layer != "none" else ""
                    results[layer, path].append(wrk(port, path, cookie, seconds / rounds))
    print(
        f"\n{seconds:g} s of wrk a page in {rounds} turns, {CONNECTIONS} connections, {WORKERS} x {THREADS} threads\n"
    )
    print("| layer          | page       |  requests/s |  p50 ms |  p99 ms | errors |")
    print("|----------------|------------|------------:|--------:|--------:|-------:|")
    rates = {}
    for (layer, path), runs in results.items():
        rate, middle, slow, _ = (statistics.median(each) for each in zip(*runs, strict=True))
        rates[layer, path] = rate
        errors = sum(run[3] for run in runs)
        print(f"| {layer:14} | {path:10} | {rate:11,.0f} | {middle:7.1f} | {slow:7.1f} | {errors:6} |")
    print(
        f"\nuntouched, ours / bare: {rates['wsgisessions', '/untouched'] / rates['none', '/untouched']:.2f} (goal 0.9)"
    )
    lean = rates["wsgisessions", "/read"] / rates["flask-session-0", "/read"]
    print(f"read, ours / Flask-Session's with SESSION_PERMANENT=False: {lean:.2f}")
    print(
        f"read, ours / Flask-Session: {rates['wsgisessions', '/read'] / rates['flask-session', '/read']:.2f} (goal 1.5)"
    )
    print(f"write, ours / Flask-Session: {rates['wsgisessions', '/write'] / rates['flask-session', '/write']:.2f}")


# --- carts


class Shoppers:
    """Visitors, each of whom adds items to its own cart by several requests at once."""

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self.added: dict[str, list[str]] = {}
        self.statuses: Counter[int] = Counter()

    def arrive(self, number: int) -> None:
        """Be a new visitor, and add an item by each of four requests at once."""
        status, _, cookie = ask(self.port, "GET", "/write")
        self.statuses[status] += 1
        if status != 200:
            return
        self.added[cookie] = []
        adders = [threading.Thread(target=self.add, args=[cookie, f"{number}-{each}"]) for each in range(AT_ONCE)]
        for adder in adders:
            adder.start()
        for adder in adders:
            adder.join()

    def add(self, cookie: str, item: str) -> None:
        status, _, _ = ask(self.port, "POST", f"{self.path}?item={item}", cookie)
        self.statuses[status] += 1
        if status == 200:
            self.added[cookie].append(item)

    def lost(self) -> int:
        """Return how many items are missing that were answered 200."""
        key = "cart" if self.path == "/merge" else "locked"

        def missing(cookie: str) -> int:
            kept = json.loads(ask(self.port, "GET", "/cart", cookie)[1])[key]
            return len(set(self.added[cookie]) - set(kept))

        with ThreadPoolExecutor(8) as threads:
            return sum(threads.map(missing, list(self.added)))


def workers_of(process: subprocess.Popen) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def megabytes(process: subprocess.Popen) -> float:
    """Return the resident memory of a gunicorn's workers."""
    total = 0
    for pid in workers_of(process):
        with suppress(OSError):
            total += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    return total / 1024


def show_soak(visitors: int, seconds: float) -> None:
    print(
        f"\n{visitors:,} visitors, each adding to its cart by {AT_ONCE} requests at once; then {seconds:g} s of wrk\n"
    )
    with servers.Redis() as redis, site("wsgisessions", redis.url) as (port, process):
        for path in ("/merge", "/lock"):
            shoppers = Shoppers(port, path)
            begun = time.monotonic()
            with ThreadPoolExecutor(12) as threads:
                list(threads.map(shoppers.arrive, range(visitors)))
            items = sum(map(len, shoppers.added.values()))
            print(
                f"{path:7} {items:,} items in {time.monotonic() - begun:.0f} s, lost {shoppers.lost()},"
                f" answers {dict(shoppers.statuses)}",
                flush=True,
            )
        cookie = ask(port, "GET", "/write")[2]
        for minute in range(max(1, round(seconds / 60)) + 1):
            clients = len(redis.run("CLIENT", "LIST").splitlines())
            print(
                f"minute {minute}: {megabytes(process):.1f} MB in the workers, {clients} connections to Redis",
                flush=True,
            )
            wrk(port, "/write", cookie, min(60, seconds))


# --- faults


def during(act: Callable[[], None], shoppers: Shoppers, seconds: float) -> None:
    """Let visitors come while something happens again and again."""
    give_up_at = time.monotonic() + seconds
    numbers = iter(range(10**9))

    def keep_coming() -> None:
        while time.monotonic() < give_up_at:
            shoppers.arrive(next(numbers))

    with ThreadPoolExecutor(5) as threads:
        for _ in range(4):
            threads.submit(keep_coming)
        while time.monotonic() < give_up_at:
            time.sleep(1)
            act()


def show_faults(seconds: float) -> None:
    print(f"\nwhile visitors fill their carts for {seconds:g} s; 0 is a closed connection\n")
    options = ["--appendonly", "yes", "--appendfsync", "always"]
    with servers.Redis(*options) as redis, site("wsgisessions", redis.url) as (port, process):

        def kill() -> None:
            with suppress(IndexError, ProcessLookupError):
                os.kill(random.choice(workers_of(process)), signal.SIGKILL)

        def restart() -> None:
            redis.kill()
            redis.start()

        for name, act in {
            "kill -9 of a worker": kill,
            "HUP": lambda: process.send_signal(signal.SIGHUP),
            "restart of the store": restart,
        }.items():
            shoppers = Shoppers(port, "/merge")
            during(act, shoppers, seconds)
            time.sleep(2)
            answers = {status: shoppers.statuses[status] for status in sorted(shoppers.statuses)}
            print(f"{name:22} each second: lost {shoppers.lost()}, answers {answers}", flush=True)


def show_outage(seconds: float) -> None:
    with servers.Redis() as redis, site("wsgisessions", redis.url) as (port, _):
        cookie = ask(port, "GET", "/write")[2]
        before = wrk(port, "/untouched", cookie, 5)
        redis.kill()
        begun, times, statuses = time.monotonic(), [], Counter()
        result: list[tuple[float, float, float, int]] = []
        other = threading.Thread(target=lambda: result.append(wrk(port, "/untouched", cookie, seconds - 2)))
        other.start()
        while time.monotonic() - begun < seconds:
            asked = time.monotonic()
            statuses[ask(port, "GET", "/read", cookie)[0]] += 1
            times.append(time.monotonic() - asked)
        other.join()
        redis.start()
        back = time.monotonic()
        while ask(port, "GET", "/read", cookie)[0] != 200:
            time.sleep(0.02)
        healed = time.monotonic() - back
    (beside,) = result
    print(f"\nthe store down for {seconds:g} s\n")
    print(
        f"pages without a session: {before[0]:,.0f} requests/s before, {beside[0]:,.0f} meanwhile ({beside[3]} errors)"
    )
    print(
        f"pages with one: {dict(statuses)}, the slowest after {max(times):.2f} s;"
        f" served again {healed:.2f} s after its return"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("throughput", "soak", "faults", "outage")
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--quick", action="store_true", help="a few seconds of each, to see that it works")
    parser.add_argument("--soak", type=float, default=600, help="seconds of the soak")
    options = parser.parse_args()
    quick = options.quick
    for part in parts if options.only is None else (options.only,):
        if part == "throughput":
            show_throughput(2 if quick else 60, 1 if quick else 12)
        elif part == "soak":
            show_soak(50 if quick else 10_000, 2 if quick else options.soak)
        elif part == "faults":
            show_faults(4 if quick else 30)
        else:
            show_outage(4 if quick else 30)


if __name__ == "__main__":
    main()
