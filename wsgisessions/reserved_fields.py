"""The fields that this package keeps beside the app's, under names that no key of a session can have."""

from __future__ import annotations

from collections.abc import Mapping

from .record import RESERVED_PREFIX

EXPIRY_FIELD = f"{RESERVED_PREFIX}expiry"
"""When this one session ends, if not as the others do."""

CLIENT_FIELD = f"{RESERVED_PREFIX}client"
"""Who sent the request that logged in."""

DATA_KEY_FIELD = f"{RESERVED_PREFIX}key"
"""The encrypted key of the texts that are encrypted at rest."""

MOVED_FIELD = f"{RESERVED_PREFIX}moved"
"""Makes a record the mark of a session that has another ID by now."""


RESERVED_FIELDS = frozenset((EXPIRY_FIELD, CLIENT_FIELD, MOVED_FIELD))


def split_fields(fields: Mapping[str, str]) -> tuple[Mapping[str, str], dict[str, str]]:
    """Return the app's fields, and this package's own but for the data key, which encryption takes away."""
    own = {name: fields[name] for name in RESERVED_FIELDS if name in fields}
    return {name: text for name, text in fields.items() if name not in own} if own else fields, own
