"""When a number belongs to somebody else by now: networks give numbers that fell silent to new people."""

from __future__ import annotations

from datetime import datetime, timedelta


def is_somebody_else(seen_at: datetime | None, *, silent: timedelta, shows_key: bool, now: datetime) -> bool:
    """Whether who registers the number is another person than its subscriber.

    `seen_at` is when a device of the subscriber was last seen; None for one who never had any, and so was never silent.
    """
    return seen_at is not None and not shows_key and now - seen_at >= silent
