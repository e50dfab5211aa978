"""When an effect that failed is tried again."""

from __future__ import annotations

from datetime import timedelta

FIRST = timedelta(seconds=1)
LONGEST = timedelta(seconds=20)  # an effect whose trouble is over must arrive within 30 s


def delay(attempts: int) -> timedelta:
    """How long to wait after so many failed attempts (from 1): doubling from one second to twenty."""
    return LONGEST if attempts > 5 else min(LONGEST, FIRST * 2 ** max(0, attempts - 1))
