"""Moments as RFC 3339 §5.6 writes them, read the same by every version of Python."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

LONGEST = 64
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:)([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))\Z",
    re.ASCII,
)


@lru_cache(maxsize=4096)
def moment(raw: str) -> datetime | None:
    """The moment, to the microsecond; None when it is none.

    A leap second, which only the last minute of a month in UTC has, counts as the second that follows it.
    """
    found = _MOMENT.match(raw) if len(raw) <= LONGEST else None
    if found is None:
        return None
    day, minute, second, fraction, sign, hours, minutes = found.groups()
    if sign and (int(hours) > 23 or int(minutes) > 59):
        return None
    leap = second == "60"
    try:
        told = datetime.fromisoformat(f"{day}T{minute}{'59' if leap else second}.{(fraction or '0')[:6]:0<6}")
        told = told.replace(tzinfo=_zone(sign, hours, minutes))
        return _after_leap(told) if leap else told
    except (ValueError, OverflowError):
        return None


def _zone(sign: str | None, hours: str, minutes: str) -> timezone:
    if sign is None:
        return UTC
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-ahead if sign == "-" else ahead)


def _after_leap(told: datetime) -> datetime | None:
    after = told.astimezone(UTC) + timedelta(seconds=1)
    return after if (after.day, after.hour, after.minute, after.second) == (1, 0, 0, 0) else None
