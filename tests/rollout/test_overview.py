"""What the overview reads: the same few queries however many features and areas there are."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rollout.models import CapacityDecision, Measurement, Window
from rollout.questions.overview import area_row, area_rows, feature_row, feature_rows
from tests.operators import Api, signed_in
from tests.rollout import cast

pytestmark = pytest.mark.django_db


def queries() -> int:
    with CaptureQueriesContext(connection) as caught:
        feature_rows(timezone.now(), {})
        area_rows(timezone.now())
    return len(caught)


def place(key: str) -> None:
    of, owner, now = cast.area(key=key), cast.feature(key=key.lower()), timezone.now()
    for ago, calls in ((20, 3), (5, int(key[1:]))):
        at = now - timedelta(seconds=ago)
        Measurement.objects.create(area=of, sampled_at=at, concurrent_calls=calls, attempts=0)
        CapacityDecision.objects.create(
            area=of, at=at, state="ramp", previous_state="ramp", reason="", would_change=f"{calls} fewer", minted=1
        )
    for person in cast.people(int(key[1:])):
        cast.grant(owner, person, granted_at=now)
    cast.window(owner, name=f"Window of {key}")


def test_overview__of_many__asks_no_more_than_of_one() -> None:
    place("A1")
    one = queries()

    for number in range(2, 6):
        place(f"A{number}")

    assert queries() == one


def test_rows__of_several__are_each_their_own() -> None:
    for number in range(1, 4):
        place(f"A{number}")
    now = timezone.now()

    features, areas = feature_rows(now, {"a2": 7}), area_rows(now)

    assert [row.holders for row in features] == [1, 2, 3]
    assert [row.running_calls for row in features] == [0, 7, 0]
    assert [row.sources for row in features] == [{"operator": n} for n in (1, 2, 3)]
    assert [(row.growth[0], row.growth[-1]) for row in features] == [(0, 1), (0, 2), (0, 3)]
    assert [[window.name for window in row.windows] for row in features] == [[f"Window of A{n}"] for n in (1, 2, 3)]
    assert [row.calls for row in areas] == [1, 2, 3]
    assert [row.allowance for row in areas] == [1000] * 3
    assert feature_row(features[1].feature, now, running_calls=7) == features[1]
    assert area_row(areas[1].area, now) == areas[1]
    assert Window.objects.count() == 3


@pytest.mark.parametrize("page", ["/console/rollout/feature/", "/console/rollout/area/", "/console/"])
def test_page__of_many__asks_no_more_than_of_one(page: str) -> None:
    client = signed_in("viewer")
    counts = []
    for number in (1, 2, 3, 4):
        place(f"A{number}")
        client.get(page)
        with CaptureQueriesContext(connection) as caught:
            assert client.get(page).status_code == 200
        counts.append(len(caught))

    assert counts[-1] == counts[0]


def test_list_of_areas__of_many__asks_no_more_than_of_one() -> None:
    api, counts = Api(), []
    for number in (1, 2, 3):
        place(f"A{number}")
        with CaptureQueriesContext(connection) as caught:
            assert len(api.get("areas").told["results"]) == number
        counts.append(len(caught))

    assert counts[-1] == counts[0]
