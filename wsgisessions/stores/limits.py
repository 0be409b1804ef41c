"""The limits that every store with a server takes."""

from __future__ import annotations

from ..errors import ConfigurationError
from .base import Store


def check_limits(store: Store, *, timeout: float, max_connections: int) -> None:
    """Refuse limits that make no sense.

    :raises ConfigurationError: a time-out that is over at once, or no connection at all.
    """
    name = type(store).__name__
    if timeout <= 0:
        raise ConfigurationError(f"{name}(timeout=...) is in seconds, above 0; got {timeout!r}")
    if max_connections < 1:
        raise ConfigurationError(f"{name}(max_connections=...) is 1 or more; got {max_connections!r}")
