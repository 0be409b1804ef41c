"""Each server of docs/servers.md, by its command there, over real HTTP."""

import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from websites import Site, Writers, commands

SECTIONS = ("gunicorn", "waitress", "uWSGI", "mod_wsgi", "granian")
COMMANDS = [command for section in SECTIONS for command in commands(section)]
GUNICORN = [command for command in COMMANDS if command.startswith("gunicorn")]
(THREADS,) = [command for command in GUNICORN if "gthread" in command and "--preload" not in command]
(PRELOAD,) = [command for command in GUNICORN if "--preload" in command]


def name_of(command):
    kind = re.search(r"--worker-class (\w+)", command)
    parts = [command.split()[0], kind and kind[1], "--preload" in command and "preload"]
    return "-".join(part for part in parts if part)


@pytest.fixture
def serve(server_class):
    """Return a function that makes a site of a command of the guide."""

    def serve(command, store_url=None, *more):
        program = command.split()[0]
        if program == "mod_wsgi-express":
            server_class("apache")
        if not (Path(sys.executable).parent / program).exists():
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up(f"{program} is not installed beside this Python")
        return Site(command, store_url, *more)

    return serve


def check(site):
    """Drive a site as visitors would."""
    visitor = site.visitor()
    pages = [visitor.visit() for _ in range(12)]
    assert [page.visits for page in pages] == list(range(1, 13))
    assert site.visitor().visit().visits == 1

    def add(number):
        return site.visitor(visitor.cookies).visit("notes", text=f"note {number}")

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(add, range(20))) == {303}
    assert sorted(visitor.visit().notes) == sorted(f"note {number}" for number in range(20))

    anonymous = dict(visitor.cookies)
    assert visitor.visit("login", name="ann") == 303
    assert visitor.cookies != anonymous
    assert visitor.visit().owner == "ann"
    # The page counts the visit: a write under an ID that a login has moved.
    with pytest.raises(requests.HTTPError, match="400"):
        site.visitor(anonymous).visit()

    site.stop()
    site.start()
    assert visitor.visit().owner == "ann"
    assert visitor.visit("logout") == 303
    assert visitor.visit().owner == "nobody"


def test_the_guide_has_every_server():
    assert {command.split()[0] for command in COMMANDS} == {
        "gunicorn",
        "waitress-serve",
        "uwsgi",
        "mod_wsgi-express",
        "granian",
    }
    assert len(GUNICORN) == 4


@pytest.mark.parametrize("store", ["sqlite", "redis"])
@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_server_serves_sessions(serve, server_url, command, store):
    more = ["--server-root", "httpd"] if command.startswith("mod_wsgi") else []
    with serve(command, None if store == "sqlite" else server_url(store), *more) as site:
        check(site)


@pytest.mark.parametrize("store", ["postgres", "mysql", "mongodb"])
@pytest.mark.parametrize("command", [THREADS, PRELOAD], ids=name_of)
def test_gunicorn_on_every_store(serve, server_url, command, store):
    with serve(command, set_up(server_url(store))) as site:
        check(site)


def set_up(url):
    from wsgisessions import open_store

    store = open_store(url)
    store.setup()
    store.close()
    return url


def test_uwsgi_may_make_the_app_in_each_process(serve):
    (command,) = commands("uWSGI")
    with serve(command, None, "--lazy-apps") as site:
        check(site)


def workers(site):
    """Return the process IDs of a gunicorn's workers."""
    found = subprocess.run(["pgrep", "-P", str(site.process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.skipif(platform.system() != "Linux", reason="finds processes by pgrep")
class TestGunicornUnderLoad:
    """What was acknowledged is there; what fails is a closed connection or a 503."""

    @pytest.fixture(params=["sqlite", "redis"])
    def url(self, request, server_url):
        return None if request.param == "sqlite" else server_url(request.param)

    def test_a_reload_loses_nothing(self, serve, url):
        with serve(THREADS, url) as site:
            before = set(workers(site))
            with Writers(site) as writers:
                writers.wait_for(10)
                site.process.send_signal(signal.SIGHUP)
                give_up_at = time.monotonic() + 60
                while before & set(workers(site)):
                    assert time.monotonic() < give_up_at
                    time.sleep(0.05)
                writers.wait_for(10)
            writers.check()

    def test_replaced_workers_lose_nothing(self, serve, url):
        with serve(PRELOAD, url, "--max-requests", "10", "--max-requests-jitter", "5") as site:
            before = set(workers(site))
            with Writers(site) as writers:
                writers.wait_for(100)
            assert before != set(workers(site))
            writers.check()

    def test_killed_workers_lose_nothing(self, serve, url):
        with serve(THREADS, url) as site:
            with Writers(site) as writers:
                for _ in range(5):
                    writers.wait_for(5)
                    if found := workers(site):
                        os.kill(random.choice(found), signal.SIGKILL)
                writers.wait_for(10)
            writers.check()
