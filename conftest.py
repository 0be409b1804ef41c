"""Runs the code blocks of the README and the docs as tests."""

from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a document's code write its files where they go away."""
    monkeypatch.chdir(tmp_path)


def name_module(namespace: dict[str, Any]) -> None:
    """Let `Flask(__name__)` find a folder."""
    namespace["__name__"] = "__main__"


_has_run: set[tuple[str, int]] = set()


def pytest_runtest_call(item: pytest.Item) -> None:
    """Run a document's blocks down to this one: pytest-xdist may give the earlier ones to another process."""
    if isinstance(item, SybilItem):
        for example in item.example.document.examples():
            if example.start < item.example.start and (example.path, example.start) not in _has_run:
                example.evaluate()
                _has_run.add((example.path, example.start))
        _has_run.add((item.example.path, item.example.start))


pytest_collect_file = Sybil(
    setup=name_module, parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/*.md"], fixtures=["empty_folder"]
).pytest()
