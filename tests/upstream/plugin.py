"""A pytest plugin: every Flask app has `Sessions`, and the tests that `expected.py` lists must fail."""

import pytest
from expected import SUITES
from flask import Flask

from wsgisessions import MemoryStore
from wsgisessions.flask import Sessions


class CountingStore(MemoryStore):
    """Counts the sessions that the suite's apps stored."""

    created = 0

    def create(self, id_hash, record):
        CountingStore.created += 1
        return super().create(id_hash, record)


def pytest_addoption(parser):
    parser.addoption("--suite", choices=SUITES, required=True, help="whose list of expected failures holds")
    parser.addoption("--plain", action="store_true", help="give apps no Sessions, and run what fails anyway")
    parser.addoption("--flask-login", action="store_true", help="give apps Sessions(flask_login=True)")


def pytest_configure(config):
    if config.option.plain:
        return
    options = {"flask_login": True} if config.option.flask_login else {}
    plain = Flask.__init__

    def with_sessions(app, *args, **kwargs):
        plain(app, *args, **kwargs)
        # A class of the suite's that brings an interface of its own does not ask for the default.
        if type(app).session_interface is Flask.session_interface:
            Sessions(app, CountingStore(), **options)

    Flask.__init__ = with_sessions


def pytest_collection_modifyitems(config, items):
    suite = SUITES[config.option.suite]
    listed = suite.fails_anyway if config.option.plain else suite.fails | suite.fails_anyway
    found = {item.nodeid.removeprefix("tests/"): item for item in items}
    if unknown := listed.keys() - found.keys():
        raise pytest.UsageError(f"expected.py lists tests that {config.option.suite} has not: {sorted(unknown)}")
    for name, reason in listed.items():
        found[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))
    if config.option.plain:
        items[:] = [found[name] for name in listed]


def pytest_sessionfinish(session):
    if not session.config.option.plain and CountingStore.created == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"{CountingStore.created} sessions were stored by wsgisessions")
