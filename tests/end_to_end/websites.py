"""Starts the commands of docs/servers.md, and visits them."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import requests

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
WSGI = re.search(r"```py\n# wsgi.py\n(.*?)```", GUIDE, re.DOTALL)[1]


def commands(section):
    """Return the commands of a section of the guide."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", GUIDE, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)


def account_of(program):
    """Return what to put before a server's command, for it to run as the right user.

    Apache insists on leaving root's rights, and then may look neither at root's Python nor at root's checkout; so it
    starts without them, but for reading.
    """
    if program != "mod_wsgi-express" or os.geteuid() != 0:
        return []
    rights = "+dac_read_search"
    user = ["--reuid", "www-data", "--regid", "www-data", "--clear-groups"]
    # The last one lets access(), by which Python looks for its library, know of the rights.
    return ["setpriv", *user, "--inh-caps", rights, "--ambient-caps", rights, "--securebits", "+no_setuid_fixup"]


class Site:
    """A web server that serves the Flask example on a store."""

    def __init__(self, command, store_url, *more):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        program, *rest = shlex.split(re.sub(r"\b8000\b", str(self.port), command))
        self.program = Path(sys.executable).parent / program
        # Not below pytest's own folder, into which servers that leave root's rights cannot look.
        self.folder = Path(tempfile.mkdtemp(prefix="wsgisessions-web-", dir="/tmp"))
        self.folder.chmod(0o777)
        (self.folder / "wsgi.py").write_text(WSGI, encoding="utf-8")
        shutil.copy(ROOT / "examples" / "flask_app.py", self.folder)
        shutil.copytree(ROOT / "examples" / "templates", self.folder / "templates")
        shutil.copytree(ROOT / "examples" / "static", self.folder / "static")
        self.command = [*account_of(program), str(self.program), *rest, *more]
        self.environ = {**os.environ, "PYTHONPATH": str(self.folder)}
        self.environ["WSGISESSIONS_STORE"] = store_url or f"sqlite:///{quote(str(self.folder))}/sessions.db"
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def start(self):
        log = self.folder / "log"
        with log.open("a") as output:
            self.process = subprocess.Popen(
                self.command, env=self.environ, cwd=self.folder, stdout=output, stderr=output, start_new_session=True
            )
        give_up_at = time.monotonic() + 60
        while not self.answers():
            text = log.read_text()
            assert self.process.poll() is None, text
            assert time.monotonic() < give_up_at, text
            time.sleep(0.1)

    def answers(self):
        try:
            return requests.get(self.url, timeout=10).ok
        except requests.RequestException:
            return False

    def stop(self):
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)

    def visitor(self, cookies=()):
        return Visitor(self.url, cookies)


class Visitor:
    """A browser with a cookie jar."""

    def __init__(self, url, cookies=()):
        self.url = url
        self.cookies = dict(cookies)

    def visit(self, path="", **form):
        """Return the page; forms are posted, and lead back to it."""
        method = "POST" if form or path else "GET"
        headers = {"Connection": "close"}
        answer = requests.request(
            method,
            self.url + path,
            data=form,
            cookies=self.cookies,
            headers=headers,
            timeout=30,
            allow_redirects=False,
        )
        answer.raise_for_status()
        for cookie in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return Page(answer.text) if method == "GET" else answer.status_code


class Page:
    """What the Flask example shows."""

    def __init__(self, html):
        facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
        self.visits = int(facts["Visits"])
        self.process = facts["This visit"]
        self.owner = facts["Logged in as"]
        self.notes = re.findall(r"<li>(.*?)</li>", html)


class Writers:
    """Threads that post notes to one session, and remember which were acknowledged."""

    def __init__(self, site, threads=4):
        self.visitor = site.visitor()
        self.visitor.visit("notes", text="first")
        self.acknowledged = ["first"]
        self.failures = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=[number]) for number in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _write(self, thread):
        number = 0
        while not self._is_over.is_set():
            number += 1
            text = f"note {thread}-{number}"
            copy = Visitor(self.visitor.url, self.visitor.cookies)
            try:
                assert copy.visit("notes", text=text) == 303
            except requests.HTTPError as error:
                self.failures.append(error.response.status_code)
            except requests.RequestException:
                self.failures.append("closed")
            else:
                self.acknowledged.append(text)

    def wait_for(self, count):
        """Wait until so many more notes were acknowledged."""
        goal, give_up_at = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < goal:
            assert time.monotonic() < give_up_at, self.failures
            time.sleep(0.02)

    def check(self):
        """Find every acknowledged note, and no failure that pretends to be none."""
        notes = self.visitor.visit().notes
        assert set(self.acknowledged) <= set(notes)
        assert len(notes) == len(set(notes))
        assert set(self.failures) <= {"closed", 503}
