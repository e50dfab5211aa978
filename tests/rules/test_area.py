"""Which area somebody belongs to. tests/rollout checks that the SQL function says the same."""

from __future__ import annotations

import pytest

from rollout.rules.definition.area import AreaPlace, area_of

WORLD = AreaPlace("world", frozenset(), frozenset())
GERMANY = AreaPlace("de", frozenset({"DE"}), frozenset())
E_PLUS = AreaPlace("eplus", frozenset(), frozenset({"262-03"}))
E_PLUS_AT_HOME = AreaPlace("eplus-de", frozenset({"DE"}), frozenset({"262-03"}))
DACH = AreaPlace("dach", frozenset({"AT", "CH", "DE"}), frozenset())


@pytest.mark.parametrize(
    ("areas", "country", "carrier", "expected"),
    [
        ([WORLD, GERMANY, E_PLUS], "DE", "262-03", "eplus"),
        ([WORLD, GERMANY, E_PLUS], "FR", "262-03", "eplus"),
        ([WORLD, GERMANY, E_PLUS], "DE", "262-01", "de"),
        ([WORLD, GERMANY, E_PLUS], "FR", "", "world"),
        ([GERMANY, E_PLUS], "FR", "", None),
        ([E_PLUS, E_PLUS_AT_HOME], "DE", "262-03", "eplus-de"),
        ([E_PLUS, E_PLUS_AT_HOME], "FR", "262-03", "eplus"),
        ([GERMANY, DACH], "DE", "", "dach"),
        ([], "DE", "", None),
    ],
)
def test_area_of__the_closest_fit__wins(
    areas: list[AreaPlace], country: str, carrier: str, expected: str | None
) -> None:
    assert area_of(areas, country, carrier) == expected
    assert area_of(reversed(areas), country, carrier) == expected
