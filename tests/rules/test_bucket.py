"""Buckets: golden vectors, and what must hold for every salt and share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.definition.bucket import MILLION, bucket, unleash_percent, unleash_variant, variant_bucket, weighted

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "buckets.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", VECTORS["buckets"])
def test_bucket__golden_vector__is_kept_for_ever(row: dict[str, object]) -> None:
    assert bucket(str(row["salt"]), str(row["unit"])) == row["bucket"]
    assert variant_bucket(str(row["salt"]), str(row["unit"])) == row["variant_bucket"]


@pytest.mark.parametrize("row", VECTORS["unleash"])
def test_unleash_normaliser__known_answers__are_the_same(row: dict[str, object]) -> None:
    assert unleash_percent(str(row["group"]), str(row["unit"])) == row["percent"]
    assert unleash_variant(str(row["group"]), str(row["unit"]), 100) == row["variant_of_100"]


@given(st.text(max_size=40), st.text(max_size=60))
def test_bucket__any_input__lies_in_the_million(salt: str, unit: str) -> None:
    assert 0 <= bucket(salt, unit) < MILLION


def test_bucket__many_people__fill_a_share_and_two_salts_are_independent() -> None:
    people = [f"person-{i}" for i in range(20_000)]

    first = {p for p in people if bucket("one", p) < 250_000}
    second = {p for p in people if bucket("two", p) < 250_000}

    assert len(first) == pytest.approx(5_000, abs=250)
    assert len(first & second) == pytest.approx(1_250, abs=150)


def test_variant_bucket__people_within_a_small_share__are_still_split_evenly() -> None:
    within = [f"person-{i}" for i in range(40_000) if bucket("salt", f"person-{i}") < 100_000]

    low = sum(variant_bucket("salt", person) < 500_000 for person in within)

    assert low == pytest.approx(len(within) / 2, rel=0.1)


@pytest.mark.parametrize(("position", "index"), [(0, 0), (199_999, 0), (200_000, 2), (999_998, 2), (999_999, 3)])
def test_weighted__borders__are_half_open_and_a_zero_weight_gets_nobody(position: int, index: int) -> None:
    assert weighted(position, [200_000, 0, 799_999, 1]) == index
