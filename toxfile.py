"""Lets tox find the Pythons that pyenv has installed: its shims answer for the chosen version only."""

import os
from pathlib import Path

_versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
_found = sorted(str(folder) for folder in _versions.glob("3.*/bin"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *_found])
