"""What other libraries call a session's attributes, and what to write here."""

from __future__ import annotations

ELSEWHERE = {
    "session_key": "session.id",
    "session_id": "session.id",
    "sid": "session.id",
    "cycle_key": "session.cycle_id()",
    "regenerate": "session.cycle_id()",
    "regenerate_id": "session.cycle_id()",
    "invalidate": "session.flush()",
    "destroy": "session.flush()",
    "delete": "session.flush()",
    "set_expiry": "session.expiry = OnInactivity(...), OnSessionEnd(...) or AtDateTime(...)",
    "get_expiry_age": "session.expires_in",
    "get_expiry_date": "session.expires_at",
    "created": "session.created_at",
    "last_accessed": "manager.sessions(owner), whose items have last_seen",
    "get_by_id": "SessionManager.open(session_id)",
    "touch": "nothing: using a session puts its end off",
    "timeout": "session.expiry = OnInactivity(...)",
    "cookie": "session.expiry = OnInactivity(...); attributes are the middleware's, transport=Cookie(...)",
    "revert": "session.reload()",
    "user": "session.owner",
    "user_id": "session.owner",
    "modified": "nothing: changes are found by themselves, in nested values too (see session.is_modified)",
    "accessed": "session.is_loaded",
    "new": "session.is_new",
    "permanent": "session.expiry = OnInactivity(...) (session.permanent is there in wsgisessions.flask)",
    "has_key": "key in session",
}
