"""Runs the code blocks of the README and the docs as tests."""

from pathlib import Path
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a document's code write its files where they go away."""
    monkeypatch.chdir(tmp_path)


def name_module(namespace: dict[str, Any]) -> None:
    """Let `Flask(__name__)` find a folder."""
    namespace["__name__"] = "__main__"


pytest_collect_file = Sybil(
    setup=name_module, parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/*.md"], fixtures=["empty_folder"]
).pytest()
