"""The layers hold, the types are clean for a user, and importing the package imports no framework."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


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


def test_the_types_are_shipped():
    import wsgisessions

    assert Path(wsgisessions.__file__).with_name("py.typed").exists()


def test_a_users_code_is_typed(tmp_path):
    pytest.importorskip("mypy")
    result = run("-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(ROOT / "tests" / "typing" / "api.py"))
    assert result.returncode == 0, result.stdout + result.stderr
