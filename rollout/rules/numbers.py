"""Numbers as people read them, and what sums up many of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


def people_words(count: int) -> str:
    """`1 person`, `1,204 people`."""
    return "1 person" if count == 1 else f"{count:,} people"


def have_words(count: int) -> str:
    """`1 person has`, `1,204 people have`."""
    return f"{people_words(count)} {'has' if count == 1 else 'have'}"


def calls_words(count: int) -> str:
    """`no call`, `1 call`, `17 calls`."""
    return "no call" if count == 0 else "1 call" if count == 1 else f"{count:,} calls"


def span_words(seconds: float) -> str:
    """A length of time in its largest fitting unit: `8 s`, `12 min`, `3 h`, `2 days`."""
    seconds = abs(seconds)
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 36 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{round(seconds / 86400)} days"


def share_words(ppm: float, *, decimals: int = 4) -> str:
    """Parts per million as per cent, as exact as it needs to be: `25 %`, `0.5 %`, `0.0001 %`."""
    return f"{ppm / 10_000:.{decimals}f}".rstrip("0").rstrip(".") + " %"


def per_cent_words(value: float) -> str:
    """A measured per cent: `100 %` only of all, `0 %` only of nobody."""
    if value in (0, 100):
        return f"{value:.0f} %"
    if 10 <= value < 99:
        return f"{value:.0f} %"
    return f"{min(99.9, max(0.1, value)):.1f} %"


def percentile(sorted_values: Sequence[int], share: float) -> int | None:
    """The nearest-rank percentile: the least value that `share` of all values don't exceed. None without values."""
    if not sorted_values:
        return None
    return sorted_values[max(0, ceil(share * len(sorted_values)) - 1)]
