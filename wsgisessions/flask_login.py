"""Flask-Login: what `Sessions(app, store, flask_login=True)` does, by Flask-Login's signals."""

from __future__ import annotations

from typing import Any, cast

from flask import Flask
from flask import session as flask_session
from flask_login import (
    session_protected,
    user_accessed,
    user_loaded_from_cookie,
    user_logged_in,
    user_logged_out,
    user_login_confirmed,
)
from flask_login.config import SESSION_KEYS

from .session import Session, exchange_of
from .states import WAITING

session = cast("Session", flask_session)

# What a request leaves for its own end, or for the next page, and plain Flask keeps at a logout: whether Flask-Login's
# remember cookie and Flask-Security's CSRF cookie are to go, and messages.
_CLEAR = "clear"
_ORDERS = ("_remember", "fs_cc")
_MESSAGES = "_flashes"


def follow_logins(app: Flask) -> None:
    """Bind and end an app's sessions as its users log in and out."""
    for signal in (user_logged_in, user_login_confirmed, user_loaded_from_cookie):
        signal.connect(_bind, app)
    user_accessed.connect(_bind_unbound, app)
    user_logged_out.connect(_end, app)
    session_protected.connect(_end_if_refused, app)


def _bind(app: Flask, **_: Any) -> None:
    kept = {key: session[key] for key in SESSION_KEYS if key in session}
    if "_user_id" in kept:
        session.login(str(kept["_user_id"]))
        # Had the session another owner, it is a new one now.
        session.update(kept)


def _bind_unbound(app: Flask, **_: Any) -> None:
    """Bind a session in which somebody logged in before the site had `flask_login=True`."""
    if exchange_of(session).phase is WAITING and session.owner is None:
        _bind(app)


def _end(app: Flask, **_: Any) -> None:
    kept = {key: _CLEAR for key in _ORDERS if session.get(key) == _CLEAR}
    if _MESSAGES in session:
        kept[_MESSAGES] = session[_MESSAGES]
    session.logout()
    session.update(kept)


def _end_if_refused(app: Flask, **_: Any) -> None:
    """End a session that "strong" protection has logged out; "basic" leaves the user in it."""
    if session.owner is not None and "_user_id" not in session:
        _end(app)
