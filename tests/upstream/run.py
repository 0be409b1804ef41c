"""Run other people's test suites with this package's sessions in every Flask app.

    python tests/upstream/run.py FOLDER

Downloads into the folder, from PyPI, the source distributions of the very versions that are installed.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from shutil import unpack_archive

from expected import SUITES


def unpacked(package, folder):
    """Download a package's source distribution, and return the folder of its contents."""
    target = folder / package
    # Not by pip, which unpacks it too, and refuses Flask-WTF's where Python's tarfile is an old one.
    command = ["unearth", "--no-binary", "--download", target, f"{package}=={version(package)}"]
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    (archive,) = target.glob("*.tar.gz")
    unpack_archive(archive, target)
    (source,) = (path.parent for path in target.glob("*/PKG-INFO"))
    return source


def passes(name, source, *options):
    """Run a suite, and tell whether all went as expected.py says."""
    sys.stdout.write(f"\n=== {' '.join((name, *options))}\n")
    sys.stdout.flush()
    command = ["pytest", "-p", "plugin", "-p", "no:cacheprovider", "--suite", name, "-rfExX", "--tb=short", "-q"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    finished = subprocess.run([sys.executable, "-m", *command, *options, "tests"], cwd=source, env=environ, check=False)
    return finished.returncode == 0


def main(folder):
    """Run every suite, also after one has failed."""
    sources = {package: unpacked(package, folder) for package in {suite.package for suite in SUITES.values()}}
    results = []
    for name, suite in SUITES.items():
        source = sources[suite.package]
        results.append(passes(name, source, *suite.options))
        if suite.fails_anyway:
            results.append(passes(name, source, "--plain"))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
