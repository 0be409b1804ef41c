"""Each example runs as its own process, and a visitor finds over real HTTP what the example promises."""

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
VOID = {"meta", "link", "input", "br", "hr", "img"}


class Page(HTMLParser):
    """What a visitor sees: the pairs of <dt> and <dd>, the text, and whether the tags fit together."""

    def __init__(self, response, body):
        super().__init__()
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.headers.get_content_type()
        self.html = body.decode()
        self.facts = {}
        self.links = []
        self._open = []
        self._texts = []
        if (self.status, self.content_type) == (200, "text/html"):
            self.feed(self.html)
            assert self._open == [], f"tags left open: {self._open}"
        self.text = " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag, attributes):
        if tag == "link":
            self.links.append(dict(attributes).get("href"))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self._texts.append(data)
        if "dt" in self._open:
            self._term = data
        elif "dd" in self._open and data.strip():
            self.facts[self._term] = (self.facts.get(self._term, "") + " " + data.strip()).strip()


class Visitor:
    """A browser with a cookie jar; as browsers do, it keeps Secure cookies of the loopback host."""

    def __init__(self, port):
        self.port = port
        self.cookie = ""

    def visit(self, path="/", form=None, *, cookie=None, status=200):
        """Ask for a page, or post a form and follow the redirect."""
        sent = self.cookie if cookie is None else cookie
        headers = {"Connection": "close", **({"Cookie": sent} if sent else {})}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        try:
            if form is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, urlencode(form), headers)
            response = connection.getresponse()
            page = Page(response, response.read())
        finally:
            connection.close()
        for header in page.headers.get_all("Set-Cookie", []):
            if cookie is None:
                self.cookie = "" if "Max-Age=0" in header else header.partition(";")[0]
        if page.status in (302, 303):
            return self.visit(urlsplit(page.headers["Location"]).path)
        assert page.status == status, page.html
        return page


@pytest.fixture
def start(tmp_path):
    """Return a function that starts an example, and returns a maker of visitors once it answers."""
    processes = []

    def start(*command):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environ = {**os.environ, "PORT": str(port), "WSGISESSIONS_STORE": f"sqlite:///{tmp_path}/sessions.db"}
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen([sys.executable, *command], env=environ, stdout=log, stderr=log, cwd=tmp_path)
        processes.append((process, log))
        give_up_at = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        return lambda: Visitor(port)

    yield start
    for process, log in processes:
        process.terminate()
        process.wait(30)
        log.close()


def answers(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def visits(page):
    return int(page.facts["Visits"])


@pytest.mark.parametrize("example", ["counter", "guest", "login", "cart", "any_store", "shared_login", "devices"])
def test_every_page_has_the_style_sheet(start, example):
    visitor = start(str(EXAMPLES / f"{example}.py"))()
    (style,) = [link for link in visitor.visit().links if link.endswith(".css")]
    sheet = visitor.visit(style)
    assert sheet.content_type == "text/css"
    assert "prefers-color-scheme: dark" in sheet.html


def test_the_counter_counts_each_visitor_alone(start):
    new_visitor = start(str(EXAMPLES / "counter.py"))
    first, second = new_visitor(), new_visitor()
    assert [visits(first.visit()) for _ in range(3)] == [1, 2, 3]
    assert visits(second.visit()) == 1
    assert visits(first.visit()) == 4


@pytest.mark.parametrize("kind", ["sqlite", "redis", "redis_cluster", "redis_sentinel", "postgres", "mysql", "mongodb"])
def test_sessions_in_any_store_outlive_the_program(start, kind, server_url, tmp_path):
    url = f"sqlite:///{tmp_path}/any.db" if kind == "sqlite" else server_url(kind)
    command = [str(EXAMPLES / "any_store.py"), url]
    visitor = start(*command)()
    assert [visits(visitor.visit()) for _ in range(2)] == [1, 2]
    again = start(*command)()
    again.cookie = visitor.cookie
    page = again.visit()
    assert visits(page) == 3
    assert page.facts["Store"] == {
        "sqlite": "SQLiteStore",
        "postgres": "PostgresStore",
        "mysql": "MySQLStore",
        "mongodb": "MongoDBStore",
    }.get(kind, "RedisStore")


def test_the_guest_is_remembered_with_its_types(start):
    visitor = start(str(EXAMPLES / "guest.py"))()
    first = visitor.visit()
    second = visitor.visit()
    views, first_seen, _ = second.facts.values()
    assert views == "2"
    assert first_seen == list(first.facts.values())[1]
    assert re.fullmatch(r"\d\d:\d\d:\d\d UTC", first_seen)


def test_login_logout_and_logout_everywhere(start):
    new_visitor = start(str(EXAMPLES / "login.py"))
    laptop, phone = new_visitor(), new_visitor()
    laptop.visit()
    planted = laptop.cookie
    assert "do not fit" in laptop.visit("/login", {"name": "ada", "password": "wrong"}).text
    assert "Welcome, ada" in laptop.visit("/login", {"name": "ada", "password": "lovelace"}).text
    assert laptop.cookie != planted
    # For ten seconds, a write under the ID of before a login is one of a request that was under way.
    assert "ada" not in laptop.visit(cookie=planted, status=400).text
    phone.visit("/login", {"name": "ada", "password": "lovelace"})
    stolen = phone.cookie

    assert "logged out" in laptop.visit("/logout", {}).text
    assert "Log out everywhere" in phone.visit().text
    laptop.visit("/login", {"name": "ada", "password": "lovelace"})
    assert "on all your devices" in laptop.visit("/logout-everywhere", {}).text
    assert "Log out everywhere" not in phone.visit(cookie=stolen).text
    assert "Log out everywhere" not in laptop.visit().text


def test_one_login_is_good_for_four_frameworks(start):
    mounts = {"Flask": "/", "Falcon": "/falcon/", "CherryPy": "/cherrypy/", "Django": "/django/"}
    visitor = start(str(EXAMPLES / "shared_login.py"))()
    for path in mounts.values():
        assert visitor.visit(path).facts["Logged in as"] == "nobody"
    for path in mounts.values():
        page = visitor.visit("/login", {"name": "ann"})
        assert set(page.facts["Seen so far"].split(", ")) == set(mounts)
        for framework, each in mounts.items():
            page = visitor.visit(each)
            assert page.facts["Logged in as"] == "ann"
            assert f"<h1>{framework}</h1>" in page.html
        stolen = visitor.cookie
        visitor.visit(f"{path}logout", {})
        for each in mounts.values():
            assert visitor.visit(each).facts["Logged in as"] == "nobody"
            assert visitor.visit(each, cookie=stolen).facts["Logged in as"] == "nobody"
        for each in mounts.values():
            visitor.visit(each)


def test_the_cart_keeps_what_is_put_in_and_changed(start):
    visitor = start(str(EXAMPLES / "cart.py"))()
    page = visitor.visit()
    products = re.findall(r'name="product" value="([^"]+)"', page.html)
    assert len(products) >= 2
    for product in products[:2]:
        page = visitor.visit("/add", {"product": product})
    lines = re.findall(r'name="line" value="([^"]+)"', page.html)
    assert len(lines) == 2
    page = visitor.visit("/change", {"line": lines[0], "do": "gift"})
    assert "Unwrap" in page.text
    page = visitor.visit("/change", {"line": lines[1], "do": "remove"})
    assert re.findall(r'name="line" value="([^"]+)"', visitor.visit().html) == lines[:1]


def test_gunicorns_workers_share_the_sessions(start):
    new_visitor = start("-m", "gunicorn", "-c", str(EXAMPLES / "gunicorn.conf.py"))
    visitor, others = new_visitor(), [new_visitor() for _ in range(3)]
    visitor.visit()
    processes = set()
    # One who comes alone may meet the same process each time.
    with ThreadPoolExecutor(len(others)) as crowd:
        for number in range(2, 60):
            meanwhile = [crowd.submit(other.visit) for other in others]
            page = visitor.visit()
            assert visits(page) == number
            processes.add(page.facts["This visit"])
            for each in meanwhile:
                each.result()
            if len(processes) > 1:
                break
    assert len(processes) > 1

    assert "buy milk" in visitor.visit("/notes", {"text": "buy milk"}).text
    anonymous = visitor.cookie
    assert "ann" in visitor.visit("/login", {"name": "ann"}).text
    logged_in = visitor.cookie
    assert logged_in != anonymous
    assert "buy milk" not in visitor.visit(cookie=anonymous, status=400).text
    assert "buy milk" in visitor.visit("/new-id", {}).text
    assert visitor.cookie not in (anonymous, logged_in)
    assert "buy milk" not in visitor.visit(cookie=logged_in, status=400).text
    current = visitor.cookie
    assert "buy milk" not in visitor.visit("/logout", {}).text
    assert "buy milk" not in visitor.visit(cookie=current).text


def test_devices_are_ended_by_their_owner_only(start):
    new_visitor = start(str(EXAMPLES / "devices.py"))
    laptop, phone = new_visitor(), new_visitor()
    form = {"name": "ada", "password": "lovelace"}
    assert "do not fit" in laptop.visit("/login", {**form, "password": "wrong"}).text
    laptop.visit("/login", form)
    phone.visit("/login", {**form, "stay": "on"})
    page = laptop.visit()
    assert page.text.count("This device") == 1
    assert re.search("stays so for (29|30) minutes without use", page.text)
    assert re.search("stays so for (29|30) days without use", phone.visit().text)
    (handle,) = re.findall(r'name="handle" value="(\w+)"', page.html)
    with pytest.raises(AssertionError, match="Not Found"):
        new_visitor().visit("/devices/end", {"handle": handle})
    assert "That device is signed out" in laptop.visit("/devices/end", {"handle": handle}).text
    assert "Please sign in" in phone.visit().text
