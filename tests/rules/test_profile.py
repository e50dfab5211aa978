"""Codec profiles: which one for which network."""

from __future__ import annotations

import pytest

from calls.rules.profile import ProfileName, for_network, profile


@pytest.mark.parametrize(
    ("kbit", "name"),
    [(None, "m"), (0, "xs"), (24, "xs"), (25, "s"), (64, "s"), (65, "m"), (512, "m"), (513, "l"), (10**6, "l")],
)
def test_profile__for_a_network__leaves_room_for_the_link(kbit: int | None, name: str) -> None:
    assert for_network(kbit).name == name


@pytest.mark.parametrize("name", list(ProfileName))
def test_profile__any__has_a_constant_rate_that_fits_its_bound(name: ProfileName) -> None:
    shown = profile(name).as_json()

    assert (shown["cbr"], shown["codec"], shown["name"]) == (True, "opus", name)
    assert shown["bitrate"] <= {"xs": 8_000, "s": 12_000, "m": 24_000, "l": 32_000}[name]
    assert shown["frame_ms"] in {20, 60}
