"""The layers hold, the types are clean for a user, and importing the package imports no framework."""

import inspect
import re
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

import pytest

from wsgisessions import Cookie, Session, SessionManager, SessionMiddleware

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def run(*command, cwd=ROOT):
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False)


def test_imports_run_downwards():
    pytest.importorskip("importlinter")
    result = run("-m", "importlinter.cli", "lint-imports", "--no-cache")
    result = (
        result
        if "Contracts" in result.stdout
        else run("-c", "from importlinter.cli import lint_imports_command as c; c()")
    )
    assert "Contracts: 2 kept, 0 broken." in result.stdout, result.stdout + result.stderr


def test_the_package_imports_neither_frameworks_nor_test_tools():
    code = "import sys, wsgisessions; print(*(m for m in ('flask', 'bottle', 'pytest', 'jinja2') if m in sys.modules))"
    result = run("-c", code)
    assert result.stdout.strip() == "", result.stderr


def test_every_public_name_is_exported_and_described():
    import wsgisessions

    for name in wsgisessions.__all__:
        public = getattr(wsgisessions, name)
        assert public.__doc__, name


@pytest.mark.parametrize("public", [SessionMiddleware, SessionManager, Cookie])
def test_every_option_is_in_the_reference(public):
    options = inspect.signature(public).parameters.keys() - {"app", "store", "clock"}
    assert [option for option in sorted(options) if f"`{option}`" not in REFERENCE] == []


def test_every_attribute_of_a_session_is_in_the_reference():
    known = {*dir(MutableMapping), "modified", "permanent"}
    own = [name for name in vars(Session) if not name.startswith("_") and name not in known]
    assert [name for name in own if not re.search(rf"`{name}[(`]", REFERENCE)] == []


def test_the_types_are_shipped():
    import wsgisessions

    assert Path(wsgisessions.__file__).with_name("py.typed").exists()


def test_a_users_code_is_typed(tmp_path):
    pytest.importorskip("mypy")
    result = run("-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(ROOT / "tests" / "typing" / "api.py"))
    assert result.returncode == 0, result.stdout + result.stderr
