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
def make_id_hash():
    """Return a maker of ID hashes that no session has."""
    return lambda: secrets.token_hex(32)


@pytest.fixture
def make_record():
    """Return a maker of records that live for an hour."""

    def make(fields=None, *, lives=timedelta(hours=1), owner=None):
        now = utc_now()
        return Record({} if fields is None else fields, now, now, now + lives, owner)

    return make
