"""Which area a subscriber belongs to: the unit by which capacity is measured and allowance is spent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

KEY_PATTERN = r"\A(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,64}\Z"  # clients take "." and ".." out of addresses


class AreaState(StrEnum):
    """Whether an area takes people in. Unknown counts as a hold."""

    RAMP = "ramp"
    HOLD = "hold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AreaPlace:
    """Where an area lies. No country and no carrier means everywhere."""

    key: str
    countries: frozenset[str]
    carriers: frozenset[str]

    def fit(self, country: str, carrier: str) -> int:
        """How closely it fits: 3 country and carrier, 2 carrier, 1 country, 0 everywhere, -1 not at all."""
        if self.carriers and carrier not in self.carriers:
            return -1
        if self.countries and country not in self.countries:
            return -1
        return 2 * bool(self.carriers) + bool(self.countries)


def area_of(areas: Iterable[AreaPlace], country: str, carrier: str) -> str | None:
    """The key of the area that fits closest (of equals, the first by key), or None when none fits."""
    best: tuple[int, str] | None = None
    for area in areas:
        fit = area.fit(country, carrier)
        if fit >= 0 and (best is None or (-fit, area.key) < best):
            best = (-fit, area.key)
    return best[1] if best else None
