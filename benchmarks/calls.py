"""How many calls does a request make inside the package? See README.md beside this file."""

import argparse
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from overhead import LABELS, PATHS, Client

import wsgisessions
from wsgisessions import MemoryStore, SessionMiddleware, get_session

PACKAGE = Path(wsgisessions.__file__).parent
WARM_UP = ("/write", "/write", "/read", "/untouched")


@dataclass(frozen=True)
class Call:
    """A call of one of the package's functions; `depth` counts the package's callers."""

    file: str
    function: str
    depth: int


@dataclass(frozen=True)
class Count:
    """Calls, and moves: calls into another of the package's files than the call before."""

    calls: int
    moves: int

    def exceeds(self, most: "Count") -> bool:
        return self.calls > most.calls or self.moves > most.moves

    def __str__(self) -> str:
        return f"{self.calls}/{self.moves}"


def app(environ, start_response):
    """Get the session of every request; write as the README's counter does, which shows what it has counted."""
    session = get_session(environ)
    path, body = environ["PATH_INFO"], "body"
    if path == "/read":
        session.get("n")
    elif path == "/write":
        session["n"] = session.get("n", 0) + 1
        body = f"Visit {session['n']}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body.encode()]


def calls_of(client: Client, path: str) -> list[Call]:
    """Visit a page; return the calls in order. A generator is called each time that it goes on."""
    calls: list[Call] = []
    folder = f"{PACKAGE}/"

    def note(frame, event, argument):
        if event != "call" or not frame.f_code.co_filename.startswith(folder):
            return
        depth, caller = 0, frame.f_back
        while caller is not None:
            depth += caller.f_code.co_filename.startswith(folder)
            caller = caller.f_back
        calls.append(Call(frame.f_code.co_filename.removeprefix(folder), frame.f_code.co_name, depth))

    sys.setprofile(note)
    try:
        client.visit(path)
    finally:
        sys.setprofile(None)
    return calls


def count(calls: list[Call]) -> Count:
    return Count(len(calls), sum(before.file != after.file for before, after in pairwise(calls)))


def limits(text: str) -> dict[str, Count]:
    """Read `untouched=5/3,read=30/16`: the most calls and moves of each kind of request."""
    most = {}
    for part in text.split(","):
        label, _, numbers = part.partition("=")
        calls, _, moves = numbers.partition("/")
        if label not in LABELS and label != "write":
            raise argparse.ArgumentTypeError(f"no such request: {label!r}; there are untouched, read and write")
        most["read+write" if label == "write" else label] = Count(int(calls), int(moves))
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", action="store_true", help="list the calls")
    parser.add_argument("--most", type=limits, default={}, help="fail beyond: untouched=CALLS/MOVES,read=...,write=...")
    options = parser.parse_args()
    client = Client(SessionMiddleware(app, MemoryStore()))
    for path in WARM_UP:
        client.visit(path)
    found = {label: calls_of(client, path) for label, path in zip(LABELS, PATHS, strict=True)}
    print(f"Python {sys.version.split()[0]}, {PACKAGE}\n")
    if options.trace:
        for label, calls in found.items():
            print(f"{label}:")
            for call in calls:
                print(f"{'  ' * (call.depth + 1)}{call.file}:{call.function}")
            print()
    print(f"| {'request':10} | calls | moves |")
    print("|------------|------:|------:|")
    counts = {label: count(calls) for label, calls in found.items()}
    for label, each in counts.items():
        print(f"| {label:10} | {each.calls:5} | {each.moves:5} |")
    exceeded = [label for label, most in options.most.items() if counts[label].exceeds(most)]
    for label in exceeded:
        print(f"{label}: {counts[label]} calls/moves, at most {options.most[label]}", file=sys.stderr)
    sys.exit(1 if exceeded else 0)


if __name__ == "__main__":
    main()
