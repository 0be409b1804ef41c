"""The tables of docs/security.md name tests that exist, and leave no requirement of ASVS out."""

import ast
import io
import re
from pathlib import Path

import pytest

from wsgisessions import Cookie

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    line.strip("|").split("|")
    for line in GUIDE.partition("## Requirements")[2].splitlines()
    if line.startswith("| ") and not line.startswith(("| cheat sheet", "| ASVS"))
]
CHAPTER_3 = {1: 1, 2: 4, 3: 4, 4: 5, 5: 3, 6: 2, 7: 1}


def functions(path):
    """Return the names of a file's functions."""
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_each_requirement_has_its_test_or_is_the_apps(row):
    if row[-1].strip() == "the app's task":
        return
    path, name = re.fullmatch(r" `(tests/\S+\.py)::(test_\w+)` ", row[-1]).groups()
    assert name in functions(ROOT / path)


def test_each_path_in_the_guide_is_there():
    paths = re.findall(r"`(tests/[\w/]+\.py)", GUIDE)
    assert len(paths) > 20
    assert all((ROOT / path).exists() for path in paths)


def test_no_requirement_of_chapter_3_is_left_out():
    told = re.findall(r"^\| (3\.\d\.\d) \|", GUIDE, re.MULTILINE)
    assert told == [f"3.{section}.{number + 1}" for section, count in CHAPTER_3.items() for number in range(count)]


def test_the_cookies_name_tells_nothing(browser):
    browser.get(lambda session: session.update(n=1))
    assert browser.cookie.startswith("__Host-id=")
    cookies = [Cookie(), Cookie(path="/shop"), Cookie(domain="example.org"), Cookie(secure=False)]
    set_cookies = [value for each in cookies for _, value in each.issue({}, "secret", None)]
    names = [value.partition("=")[0] for value in set_cookies]
    assert names == ["__Host-id", "__Secure-id", "__Secure-id", "id"]


def test_an_id_in_the_url_or_a_form_is_not_looked_at(browser):
    browser.get(lambda session: session.update(n=1))
    parts = [browser.cookie, f"session_id={browser.session_id}", f"session={browser.session_id}"]
    form = "&".join(parts).encode()
    browser.environ |= {
        "QUERY_STRING": form.decode(),
        "PATH_INFO": f"/;{browser.cookie}",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(form)),
        "wsgi.input": io.BytesIO(form),
        "HTTP_AUTHORIZATION": f"Bearer {browser.session_id}",
        "HTTP_X_SESSION_TOKEN": browser.session_id,
    }
    browser.test_app.reset()  # its own cookie jar
    response = browser.get(lambda session: session.get("n"), cookie="", method="POST")
    assert response.result is None
    assert response.commands == []
