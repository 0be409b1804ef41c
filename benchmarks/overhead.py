"""How long does a request spend in the session layer? See README.md beside this file."""

import argparse
import gc
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from wsgiref.util import setup_testing_defaults

from chart import draw
from peers import App, Contestant, contestants

from wsgisessions import MemoryStore, SessionManager

PATHS = ("/untouched", "/read", "/write")
LABELS = ("untouched", "read", "read+write")
BATCH = 100


class Client:
    """Calls an app as a server does, with the cookies of its first visit."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.environ: dict = {}
        setup_testing_defaults(self.environ)
        self.environ.update(HTTP_HOST="localhost", HTTP_COOKIE="")

    def start_response(self, status, headers, exc_info=None):
        if status != "200 OK":
            raise RuntimeError(status)
        cookies = [value.partition(";")[0] for name, value in headers if name.lower() == "set-cookie"]
        if cookies and not self.environ["HTTP_COOKIE"]:
            self.environ["HTTP_COOKIE"] = "; ".join(cookies)

    def visit(self, path: str) -> None:
        environ = self.environ.copy()
        environ["PATH_INFO"] = path
        environ["wsgi.input"] = io.BytesIO()
        body = self.app(environ, self.start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()

    def batch(self, path: str) -> float:
        """Return the microseconds of a visit, as the mean of a batch."""
        started = time.perf_counter_ns()
        for _ in range(BATCH):
            self.visit(path)
        return (time.perf_counter_ns() - started) / BATCH / 1000


def measure(field: list[Contestant], rounds: int) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the median microseconds in the session layer by contestant, for each kind of request."""
    clients = [(each, Client(each.app), Client(each.bare)) for each in field]
    for _, client, _ in clients:
        for path in ("/write", "/write", "/read", "/untouched"):
            client.visit(path)
    overheads: dict[tuple[str, str], list[list[float]]] = {(c.name, c.kind): [[], [], []] for c in field}
    gc.disable()
    for _ in range(rounds):
        for contestant, client, bare in clients:
            for index, path in enumerate(PATHS):
                without = bare.batch(path)
                overheads[contestant.name, contestant.kind][index].append(client.batch(path) - without)
        gc.collect()
    gc.enable()
    return {key: tuple(statistics.median(times) for times in each) for key, each in overheads.items()}


def check(field: list[Contestant]) -> list[Contestant]:
    """Return the contestants that really keep a counter from visit to visit."""
    honest = []
    for contestant in field:
        seen = []

        def spy(environ, start_response, app=contestant.app, seen=seen):
            body = app(environ, start_response)
            seen.append(environ)
            return body

        client = Client(spy)
        try:
            client.visit("/write")
            cookie = client.environ["HTTP_COOKIE"]
            client.visit("/write")
        except Exception as error:
            print(f"left out: {contestant.name} ({contestant.kind}): {type(error).__name__}: {error}")
            continue
        if cookie:
            honest.append(contestant)
        else:
            print(f"left out: {contestant.name} ({contestant.kind}): it sets no cookie")
    return honest


def goals(results: dict) -> list[tuple[str, float, float]]:
    """Return what is to be reached: the claim, the measured ratio of the peer to ours, the least ratio."""
    ours, file = results["wsgisessions", "memory"], results["wsgisessions", "SQLite"]
    rows = []

    def goal(claim, peer, index, mine, least):
        if peer in results:
            rows.append((claim, results[peer][index] / mine[index], least))

    goal("untouched, Beaker / ours", ("Beaker", "memory"), 0, ours, 2)
    goal("read in memory, Beaker / ours", ("Beaker", "memory"), 1, ours, 2)
    goal("read in memory, Django's locmem / ours", ("Django", "memory"), 1, ours, 1)
    goal("read+write in memory, Beaker / ours", ("Beaker", "memory"), 2, ours, 2)
    goal("read+write on SQLite, Django / ours", ("Django", "SQLite"), 2, file, 5)
    goal("read+write on SQLite, Flask-Session / ours", ("Flask-Session", "SQLite"), 2, file, 5)
    return rows


def patch_size() -> tuple[int, int, int]:
    """Change one of 64 keys of 1 KB; return the keys and bytes of the patch, and the bytes of the whole."""

    class Watched(MemoryStore):
        def update(self, id_hash, patch):
            self.patch = patch
            return super().update(id_hash, patch)

    store = Watched()
    manager = SessionManager(store)
    session = manager.open()
    session.update({f"key{number}": "x" * 1024 for number in range(64)})
    session.save()
    whole = sum(len(value) for value in session.values())
    session = manager.open(session.id)
    session["key7"] = "y" * 1024
    session.save()
    return len(store.patch.set), sum(map(len, store.patch.set.values())), whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--svg", type=Path, help="write a chart to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(check(contestants(Path(folder))), options.rounds)
    print(f"\nPython {sys.version.split()[0]}, µs in the session layer, median of {options.rounds} rounds\n")
    print(f"| {'layer':32} | {' | '.join(f'{label:>10}' for label in LABELS)} |")
    print(f"|{'-' * 34}|{'|'.join('-' * 11 + ':' for _ in LABELS)}|")
    for (name, kind), times in results.items():
        print(f"| {f'{name}, {kind}':32} | {' | '.join(f'{each:10.2f}' for each in times)} |")
    print()
    for claim, ratio, least in goals(results):
        print(f"{claim:45} {ratio:7.1f}   goal {least}   {'reached' if ratio >= least else 'MISSED'}")
    keys, size, whole = patch_size()
    print(f"\none of 64 keys of 1 KB changed: the patch holds {keys} key, {size} of {whole} bytes")
    if options.svg:
        options.svg.write_text(draw(results, LABELS), encoding="utf-8")


if __name__ == "__main__":
    main()
