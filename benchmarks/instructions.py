"""How many instructions does a request need in the session layer? See README.md beside this file."""

import argparse
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from overhead import LABELS, PATHS, Client
from peers import MAKERS

import wsgisessions

LAYERS = {make.__name__.removesuffix("_memory"): make for make in MAKERS}
BARE = "/bare"
# The interpreter adapts its bytecode to the first calls, so these count for nothing.
WARM_UP = 100
# Two runs with the same number of requests differ by about 3,000 instructions of 900 million, so that the difference of
# these two is accurate to about ten instructions a request.
FEW, MANY = 100, 500


def start_response(status, headers, exc_info=None):
    """Do nothing: a client that looks at the headers would count those that a session adds."""


def serve(layer: str, page: str, requests: int, folder: Path) -> None:
    """Make an app and visit it: this is what runs under valgrind."""
    # Collections come when they like; each would be counted in some runs only.
    gc.disable()
    contestant = LAYERS[layer](folder)
    app = contestant.bare if page == BARE else contestant.app
    client = Client(app)
    for _ in range(WARM_UP):
        client.visit("/write")
        client.visit(page)
    if page != BARE and not client.environ["HTTP_COOKIE"]:
        raise RuntimeError(f"{layer} sets no cookie")
    visited = {**client.environ, "PATH_INFO": page}
    for _ in range(requests):
        body = app(visited.copy(), start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()


def run(layer: str, page: str, requests: int, *, valgrind: bool = True) -> int:
    """Serve in a process of its own, and return the instructions that it needed."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "callgrind.out"
        command = [sys.executable, __file__, "--serve", layer, page, str(requests), folder]
        if valgrind:
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counts}", *command]
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{layer}, {page}: {done.stderr}")
        if not valgrind:
            return 0
        totals = [line for line in counts.read_text(encoding="utf-8").splitlines() if line.startswith("totals:")]
        return int(totals[0].split()[1])


def instructions(layer: str, page: str) -> float:
    """Return the instructions of a request: the start of the process is in both runs, and so cancels out."""
    return (run(layer, page, MANY) - run(layer, page, FEW)) / (MANY - FEW)


def measure(layer: str) -> list[float]:
    """Return the instructions of a request through the bare app, then those that the layer adds on each page."""
    # Lest the first run under valgrind compiles modules, and the second does not.
    run(layer, PATHS[0], 0, valgrind=False)
    bare = instructions(layer, BARE)
    return [bare, *(instructions(layer, page) - bare for page in PATHS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=LAYERS, default=["wsgisessions", "beaker"], metavar="LAYER")
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        layer, page, requests, folder = options.serve
        serve(layer, page, int(requests), Path(folder))
        return
    if shutil.which("valgrind") is None:
        sys.exit("this needs valgrind: apt install valgrind")
    print(f"Python {sys.version.split()[0]}, {Path(wsgisessions.__file__).parent}")
    print("thousands of instructions a request; those in the session layer, and those of the app without it\n")
    print(f"| {'layer':24} | {' | '.join(f'{label:>10}' for label in LABELS)} | {'bare app':>10} |")
    print(f"|{'-' * 26}|{'|'.join('-' * 11 + ':' for _ in range(4))}|")
    for layer in options.only:
        bare, *added = (each / 1000 for each in measure(layer))
        print(f"| {layer:24} | {' | '.join(f'{each:10.1f}' for each in (*added, bare))} |", flush=True)


if __name__ == "__main__":
    main()
