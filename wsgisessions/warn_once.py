"""Warnings that would otherwise come with every request."""

from __future__ import annotations

import logging

_logger = logging.getLogger("wsgisessions")


class WarnOnce:
    """Remembers what the log has been told, so that it is told once."""

    def __init__(self) -> None:
        self._about: set[str] = set()

    def __call__(self, about: str, warning: str) -> None:
        """Log a warning, the first time that it is about this."""
        if about not in self._about:
            self._about.add(about)
            _logger.warning("%s", warning)
