"""The layers hold, the types are clean for a user, and importing the package imports no framework."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

import msgspec
import pytest

from wsgisessions import (
    Cookie,
    MemoryStore,
    Patch,
    Record,
    Session,
    SessionManager,
    changes,
    conflicts,
    options,
    record,
    request_state,
    session_ids,
)
from wsgisessions.discreet import show_nothing
from wsgisessions.options import MiddlewareOptions, Options, Settings
from wsgisessions.record import DONE, utc_now
from wsgisessions.request_state import Stored
from wsgisessions.session_ids import SessionID

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


@pytest.mark.parametrize("options", [MiddlewareOptions.__annotations__, inspect.signature(Cookie).parameters])
def test_every_option_is_in_the_reference(options):
    assert [option for option in sorted(options) if f"`{option}`" not in REFERENCE] == []


def test_every_option_has_a_default_in_the_settings():
    derived = {"store", "encryption", "is_guarded", "warn_once", "thread_locks"}
    assert Options.__annotations__.keys() == set(Settings.__struct_fields__) - derived


def test_an_option_that_there_is_not_is_refused():
    with pytest.raises(TypeError, match="max_byte"):
        SessionManager(MemoryStore(), max_byte=1)


def test_no_module_uses_the_underscore_names_of_another():
    package = ROOT / "wsgisessions"
    used = []
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_of_self(node)}
        own |= {each for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for each in names_of(node)}
        used += [
            f"{path.name}:{node.lineno} {node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own
        ]
        used += [
            f"{path.name}:{node.lineno} {alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level
            for alias in node.names
            if is_private(alias.name)
        ]
    # PyMySQL has no public name for the socket that a dropped connection must not close politely.
    assert [each for each in used if not each.endswith(" _sock")] == []


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_of_self(node):
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and isinstance(node.ctx, ast.Store)


def names_of(definition):
    for node in definition.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
            # A class with __slots__ names its attributes there.
            yield from (each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant))
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id


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


def test_a_request_makes_few_calls():
    """An untouched request is sacred, and the others are followed in few steps; benchmarks/calls.py lists them."""
    result = run(str(ROOT / "benchmarks" / "calls.py"), "--most", "untouched=5/3,read=30/16,write=48/26")
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_shows_an_objects_fields_shows_none_where_its_repr_is_discreet():
    for module in (changes, conflicts, options, record, request_state, session_ids):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__:
                assert kind.__name__ == "Applied" or kind.__rich_repr__ is show_nothing, kind


def test_a_traceback_with_local_variables_shows_no_value():
    rich = pytest.importorskip("rich.pretty")
    record = Record({"n": "a secret"}, utc_now(), utc_now(), utc_now(), "a secret")
    patch = Patch({"n": "a secret"}, expect={"n": "a secret"}, token="a secret")
    shown = rich.pretty_repr([record, patch, conflicts.Applied(DONE, patch, None), Stored(SessionID("x"), record)])
    assert "a secret" not in shown


def test_no_context_variable_is_changed_where_a_finalizer_may_run():
    """Before Python 3.12 that crashes the interpreter, now and then."""
    for module in (ROOT / "wsgisessions").rglob("*.py"):
        assert "contextvars" not in module.read_text(encoding="utf-8"), module
