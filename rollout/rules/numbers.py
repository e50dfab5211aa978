"""Numbers as people read them, and what sums up many of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil


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
