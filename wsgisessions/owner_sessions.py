"""The sessions of one owner: listed, counted and ended."""

from __future__ import annotations

from .errors import SessionError
from .options import Settings
from .owners import stored_owner
from .record import Record
from .request_state import RequestSession, Stored
from .reserved_fields import CLIENT_FIELD
from .session_info import SessionInfo, load_client


def list_sessions(settings: Settings, owner: str, current: RequestSession | None) -> list[SessionInfo]:
    """Return an owner's sessions, the last seen first. One round trip."""
    stored = None if current is None else current.stored
    own_hash = None if stored is None else stored.session_id.id_hash
    found = settings.store.find(stored_owner(owner, settings.namespace))
    described = [_describe(settings, id_hash, record, is_current=id_hash == own_hash) for id_hash, record in found]
    return sorted(described, key=lambda each: each.last_seen, reverse=True)


def end_others(settings: Settings, current: RequestSession) -> int:
    """End every session of a session's owner but this one, and return how many. One round trip.

    :raises SessionError: nobody is logged in.
    """
    kept = None if current.stored is None else current.stored.session_id.id_hash
    return settings.store.delete_owner(_require_owner(current, "session.revoke_others()"), keep=kept)


def end_all(settings: Settings, current: RequestSession) -> int:
    """End every session of a session's owner, this one too, and return how many. One round trip.

    :raises SessionError: nobody is logged in.
    """
    return settings.store.delete_owner(_require_owner(current, "session.revoke_all()"))


def end_oldest(settings: Settings, owner: str, stored: Stored) -> None:
    """End the oldest sessions of an owner who has just logged in, beyond `max_per_owner`. One round trip, and each."""
    if settings.max_per_owner is None:
        return
    own_hash = stored.session_id.id_hash
    others = [(record.created_at, id_hash) for id_hash, record in settings.store.find(owner) if id_hash != own_hash]
    for _, id_hash in sorted(others)[: max(0, len(others) + 1 - settings.max_per_owner)]:
        settings.store.delete(id_hash)


def _require_owner(current: RequestSession, doing: str) -> str:
    if current.owner is None:
        raise SessionError(f"{doing} needs an owner; call session.login(owner) first")
    return current.owner


def _describe(settings: Settings, id_hash: str, record: Record, *, is_current: bool) -> SessionInfo:
    text = record.fields.get(CLIENT_FIELD)
    if settings.encryption is not None and text is not None:
        seal = settings.encryption.find_seal(id_hash, record)
        text = None if seal is None else seal.open_text(CLIENT_FIELD, text)
    client = load_client(text)
    return SessionInfo(
        id_hash,
        record.created_at,
        record.touched_at,
        record.expires_at,
        is_current,
        client.user_agent,
        client.address,
    )
