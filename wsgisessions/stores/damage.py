"""What becomes of a stored session that nobody wrote so: one that was damaged, or tampered with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("wsgisessions")


def absent_if_damaged(read: Callable[P, R]) -> Callable[P, R | None]:
    """Make a function that reads a record return None for what it cannot read, and tell the log."""

    @wraps(read)
    def read_or_none(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return read(*args, **kwargs)
        except Exception as error:
            # Not the error itself, which may quote what is stored.
            _logger.warning("a stored session cannot be read and counts as absent (%s)", type(error).__name__)
            return None

    return read_or_none
