"""A clock that a test sets by hand."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class ManualClock:
    """Stands still until it is told to go on; called, it returns an aware UTC datetime."""

    def __init__(self, now: datetime = datetime(2030, 1, 1, tzinfo=timezone.utc)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time that it shows."""
        return self.now

    def advance(self, time: timedelta) -> None:
        """Go on by some time."""
        self.now += time
