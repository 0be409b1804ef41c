"""What a visitor is told when a request failed because of its session."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from .errors import (
    LockLost,
    LockTimeout,
    SessionConflict,
    SessionError,
    SessionInterrupted,
    SessionTooLarge,
    StoreUnavailable,
)

# Those that are not simply a 500.
ERROR_STATUSES: Mapping[type[SessionError], tuple[str, str]] = {
    StoreUnavailable: (
        "503 Service Unavailable",
        "Your session cannot be reached at the moment. Please try again.",
    ),
    LockTimeout: ("503 Service Unavailable", "Your session is busy. Please try again."),
    SessionConflict: (
        "409 Conflict",
        "Another request changed the same data. Please try again.",
    ),
    LockLost: (
        "409 Conflict",
        "Another request changed the same data. Please try again.",
    ),
    SessionInterrupted: (
        "400 Bad Request",
        "Your session has ended. Please reload the page.",
    ),
    SessionTooLarge: (
        "413 Content Too Large",
        "Your session holds too much. Please remove something and try again.",
    ),
}
_OTHER_ERRORS = ("500 Internal Server Error", "Your session could not be saved.")
_RETRY_AFTER_SECONDS = "5"

_logger = logging.getLogger("wsgisessions")


def error_response(error: BaseException) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return what a visitor is told instead of the app's response: status, headers and body."""
    status, text = next((told for kind, told in ERROR_STATUSES.items() if isinstance(error, kind)), _OTHER_ERRORS)
    body = f"{text}\n".encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    if status.startswith("503"):
        headers.append(("Retry-After", _RETRY_AFTER_SECONDS))
    return status, headers, body


def log_replacement(error: BaseException, lost: str = "") -> None:
    """Tell the log why a visitor did not get the app's response, and the names of what was not saved."""
    not_saved = f"; not saved: {lost}" if lost else ""
    _logger.error("the response was replaced, because of its session: %s%s", error, not_saved, exc_info=error)
