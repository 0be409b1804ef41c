"""What the tests of stores use."""

import secrets
from datetime import timedelta

import pytest

from wsgisessions import Record
from wsgisessions.record import utc_now


@pytest.fixture(params=["redis", "postgres", "mysql", "mongodb"])
def kind(request):
    """Name each engine that has a server, in turn."""
    return request.param


@pytest.fixture
def make_key():
    """Return a maker of keys that no session has."""
    return lambda: secrets.token_hex(32)


@pytest.fixture
def make_record():
    """Return a maker of records that live for an hour."""

    def make(values=None, *, lives=timedelta(hours=1), owner=None):
        now = utc_now()
        return Record({} if values is None else values, now, now, now + lives, owner)

    return make
