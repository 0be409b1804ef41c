"""The bytes of an encrypted session, as docs/security.md has them: what was written once is read for good."""

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from wsgisessions import MemoryStore, Record, SessionManager
from wsgisessions.session_ids import SessionID

GUIDE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
KEY = "an example of a key, known to all"
SESSION_ID = "jQuL6LGbW61jXQ-HJA93bgKikwazFeLx"
CREATED = datetime(2026, 7, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)


@pytest.fixture
def guide():
    """Return what the code in the guide defines, which uses cryptography only, and has decrypted what it shows."""
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "def decrypt_session(" in each]
    assert "wsgisessions import" not in code
    defined = {}
    exec(code, defined)  # noqa: S102 -- the guide's own code
    return defined


def test_the_session_in_the_guide_is_read(guide):
    assert guide["id_hash"] == SessionID(SESSION_ID).id_hash
    store = MemoryStore(clock=lambda: CREATED)
    record = Record(guide["recorded"], CREATED, CREATED, CREATED + timedelta(days=1), "ann")
    assert store.create(guide["id_hash"], record)
    session = SessionManager(store, encryption_keys=[KEY], clock=lambda: CREATED).open(SESSION_ID)
    assert (session.owner, dict(session)) == ("ann", {"cart": ["tea"]})


@pytest.mark.parametrize("owner", [None, "ann", "an owner of ü"])
def test_the_guide_reads_what_is_written_now(guide, any_store, owner):
    session = SessionManager(any_store, encryption_keys=[KEY]).open()
    session.update({"cart": ["tea"], "ü": "ä"})
    if owner is not None:
        session.login(owner)
    session.save()
    id_hash = SessionID(session.id).id_hash
    record = any_store.load(id_hash)
    created = int(record.created_at.timestamp() * 1000)
    values = guide["decrypt_session"](KEY.encode(), id_hash, created, owner, record.fields)
    assert values == {"cart": b'["tea"]', "ü": '"ä"'.encode()}
