"""When a session ends: with the browser, after idle time, or at a given instant.

Idle and absolute limits are OWASP's "idle timeout" and "absolute timeout"; the earlier one counts.
Extending an idle session (a touch) costs a write, so it is put off until a tenth of the idle time
has passed since the last one: a visitor may be logged out up to a tenth earlier than the full time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import Any, ClassVar, TypeAlias

import msgspec

from .errors import ConfigurationError, DecodeError

_TOUCHES_PER_IDLE_TIME = 10

_NEVER = datetime(9999, 1, 1, tzinfo=timezone.utc)
"""The latest deadline: every engine holds it, and every time zone can show it."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class _Idle:
    outlives_browser: ClassVar[bool]

    idle: timedelta
    absolute: timedelta | None = None
    touch_interval: timedelta = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        name = type(self).__name__
        _require_positive(f"{name}(idle)", self.idle)
        if self.absolute is not None:
            _require_positive(f"{name}(absolute)", self.absolute)
        object.__setattr__(self, "touch_interval", self.idle / _TOUCHES_PER_IDLE_TIME)

    def deadline(self, created_at: datetime, now: datetime) -> datetime:
        """Return now plus the idle time, but not past the absolute limit, nor the year 9998."""
        idle_end = _later(now, self.idle)
        if self.absolute is None:
            return idle_end
        return min(idle_end, _later(created_at, self.absolute))


@dataclass(frozen=True, slots=True)
class OnInactivity(_Idle):
    """End after `idle` without a request, and at `absolute` after the start at the latest.

    The cookie carries Max-Age, so the session outlives the browser.
    """

    outlives_browser: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class OnSessionEnd(_Idle):
    """End when the browser is closed; on the server after `idle` or `absolute`, whichever is first.

    The cookie carries no Max-Age. `idle` is two weeks unless given.
    """

    outlives_browser: ClassVar[bool] = False

    idle: timedelta = timedelta(weeks=2)


@dataclass(frozen=True, slots=True)
class AtDateTime:
    """End at one instant (an aware datetime), however active the session is."""

    outlives_browser: ClassVar[bool] = True
    touch_interval: ClassVar[None] = None

    at: datetime

    def __post_init__(self) -> None:
        if not isinstance(self.at, datetime) or self.at.utcoffset() is None:
            raise ConfigurationError(
                "AtDateTime needs an aware datetime, such as datetime(2030, 1, 1, tzinfo=timezone.utc);"
                f" got {self.at!r}"
            )

    def deadline(self, created_at: datetime, now: datetime) -> datetime:
        """Return the instant, between 1970 and the year 9998."""
        try:
            return min(max(self.at.astimezone(timezone.utc), _LONG_AGO), _NEVER)
        except OverflowError:  # within a day of the ends of time
            return _NEVER if self.at.year > _LONG_AGO.year else _LONG_AGO


Expiry: TypeAlias = OnInactivity | OnSessionEnd | AtDateTime
"""The rule by which a session's deadline is computed.

`outlives_browser`: whether the cookie says how long it lasts (Max-Age), or ends with the browser.
`touch_interval`: how much time passes before a use sets the deadline anew; None: use does not move it.
`deadline(created_at, now)`: when a session that is used now will end.
"""


def max_age(expiry: Expiry, expires_at: datetime, now: datetime) -> int | None:
    """Return a cookie's Max-Age in seconds, or None if it ends with the browser (RFC 6265bis, section 5.6.2)."""
    if not expiry.outlives_browser:
        return None
    return max(0, ceil((expires_at - now).total_seconds()))


def _later(moment: datetime, span: timedelta) -> datetime:
    try:
        return min(moment + span, _NEVER)
    except OverflowError:
        return _NEVER


def _require_positive(name: str, value: Any) -> None:
    if not isinstance(value, timedelta):
        raise ConfigurationError(f"{name} needs a timedelta, such as timedelta(minutes=30); got {value!r}")
    if value <= timedelta(0):
        raise ConfigurationError(f"{name} must be longer than zero; got {value!r}")


_KINDS: dict[str, type[OnInactivity | OnSessionEnd]] = {
    "inactivity": OnInactivity,
    "session_end": OnSessionEnd,
}


def dump_expiry(expiry: Expiry) -> str:
    """Return the text under which one session's own expiry is stored."""
    if isinstance(expiry, AtDateTime):
        return msgspec.json.encode(["at", expiry.at]).decode()
    for kind, cls in _KINDS.items():
        if isinstance(expiry, cls):
            return msgspec.json.encode([kind, expiry.idle, expiry.absolute]).decode()
    raise ConfigurationError(
        f"expiry is OnInactivity(timedelta(minutes=30)), OnSessionEnd() or AtDateTime(...); got {type(expiry).__name__}"
    )


def load_expiry(text: str) -> Expiry:
    """Return the expiry that `dump_expiry` wrote.

    :raises DecodeError: the text is not one of those.
    """
    try:
        kind, *rest = msgspec.json.decode(text, type=list[Any])
        if kind == "at":
            return AtDateTime(*msgspec.convert(rest, tuple[datetime]))
        return _KINDS[kind](*msgspec.convert(rest, tuple[timedelta, timedelta | None]))
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DecodeError("a session's stored expiry cannot be read") from error
