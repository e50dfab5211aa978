"""Headcounts: how many people have a feature is counted by their decisions, never by grants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rollout.actions import features, waves, windows
from rollout.actions.headcounts import refresh_headcounts
from rollout.errors import GrantsIgnored
from rollout.models import Feature, Grant, Headcount, Wave, Window
from rollout.questions import headcounts
from rollout.questions.evaluate import current, find_person
from rollout.questions.overview import feature_rows
from rollout.rules.decision.decision import decide
from tests import builders, operators
from tests.operators import TESTS, Api
from tests.rollout import cast

pytestmark = pytest.mark.django_db

HALF = [{"name": "half", "share_ppm": 500_000}]


def rows() -> dict[str, Any]:
    return {row.feature.key: row for row in feature_rows(timezone.now(), {})}


def having(key: str = "voice-calls") -> int:
    return rows()[key].headcount.having


def test_headcount__of_each_access__is_the_number_of_decisions() -> None:
    people = cast.people(20)
    for person in people[:12]:
        builders.device(person, app_version="1.0.0" if person in people[:4] else "2.12.0")
    operators.feature("plain", access="granted")
    operators.feature("strict", access="granted", requirements={"platforms": {"android": {"app": "2.0.0"}}})
    operators.feature("halved", access="rules", rules=HALF)
    operators.feature("launched", access="everyone", prerequisites=["halved"])
    for key in ("plain", "strict", "halved"):
        for person in people[:8]:
            cast.grant(Feature.objects.get(key=key), person)
    now = timezone.now()

    found = rows()

    for key, row in found.items():
        decided = [decide(current(), key, find_person(person.pk).party(), now).enabled for person in people]
        assert (row.headcount.having, row.headcount.looked_at, row.headcount.counted) == (sum(decided), 20, True), key
    assert [found[key].holders for key in ("plain", "strict", "halved", "launched")] == [8, 8, 8, 0]
    assert (found["plain"].headcount.having, found["strict"].headcount.having) == (8, 4)
    assert 0 < found["launched"].headcount.having == found["halved"].headcount.having < 20


def test_headcount__of_what_is_off__is_who_would_have_it() -> None:
    cast.people(3)
    operators.feature(access="everyone", on=False)

    row = rows()["voice-calls"]

    assert (row.is_on, row.headcount.having) == (False, 3)
    assert row.standing.next == "Switch it on: 3 people have it again, as before."


def test_headcount__of_many_people__is_the_worker_s_and_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headcounts, "COUNTED_WHEN_ASKED", 2)
    monkeypatch.setattr("rollout.actions.headcounts.COUNTED_WHEN_ASKED", 2)
    people, now = cast.people(9), timezone.now()
    operators.feature(access="rules", rules=HALF)
    assert rows()["voice-calls"].headcount is None

    assert refresh_headcounts(now=now) == 1
    assert refresh_headcounts(now=now + timedelta(seconds=1)) == 0

    found = rows()["voice-calls"].headcount
    decided = sum(decide(current(), "voice-calls", find_person(person.pk).party(), now).enabled for person in people)
    assert (found.having, found.of, found.at) == (decided, 9, now)
    with CaptureQueriesContext(connection) as caught:
        rows()
    assert not [query for query in caught if "accounts_device" in query["sql"]], "people were read for a page"
    features.change_feature("voice-calls", changes={"rules": []}, actor=TESTS, now=now)
    assert refresh_headcounts(now=now + timedelta(seconds=2)) == 1
    assert having() == 0
    assert refresh_headcounts(now=now + timedelta(seconds=63)) == 1


def test_headcount__of_too_many_people__is_an_estimate_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headcounts, "EXACT_UP_TO", 4)
    cast.people(12)
    operators.feature(access="everyone")

    found = rows()["voice-calls"].headcount

    assert (found.having, found.looked_at, found.people, found.counted) == (4, 4, 12, False)
    assert found.how == "estimated: 4 people were looked at"


def test_refresh__with_few_people__stores_nothing() -> None:
    cast.people(3)
    operators.feature()

    assert refresh_headcounts(now=timezone.now()) == 0
    assert not Headcount.objects.exists()


@pytest.mark.parametrize(("access", "why"), [("rules", "decided by its rules"), ("everyone", "is launched")])
def test_wave_and_window__where_access_ignores_grants__are_refused(access: str, why: str) -> None:
    cast.area()
    operators.feature(access=access)
    now = timezone.now()
    wave = waves.create_wave("voice-calls", name="Android", actor=TESTS, now=now)
    window = windows.create_window("voice-calls", name="Saturday", actor=TESTS, now=now)

    for act in (
        lambda: waves.open_wave(wave.pk, actor=TESTS, now=now),
        lambda: windows.open_window(window.pk, actor=TESTS, now=now),
    ):
        with pytest.raises(GrantsIgnored, match=why):
            act()

    assert (Wave.objects.get().state, Window.objects.get().state) == ("draft", "scheduled")
    Wave.objects.update(state="held")
    with pytest.raises(GrantsIgnored):
        waves.resume_wave(wave.pk, actor=TESTS, now=now)
    features.set_access("voice-calls", access="granted", actor=TESTS, now=now)
    assert waves.resume_wave(wave.pk, actor=TESTS, now=now).state == "open"


def test_wave__open_when_access_changes__spends_no_allowance_in_vain() -> None:
    cast.area()
    operators.feature()
    cast.people(3)
    now = timezone.now()
    wave = waves.create_wave("voice-calls", name="Android", actor=TESTS, now=now)
    waves.open_wave(wave.pk, actor=TESTS, now=now)
    features.set_access("voice-calls", access="rules", actor=TESTS, now=now)

    told = waves.admit(wave.pk, now=now)

    assert told.standstill == "Voice calls is decided by its rules, so grants change nothing until access is “granted”."
    assert not Grant.objects.exists()
    row = rows()["voice-calls"]
    assert row.standing.needs_person
    assert "The wave “Android” is open, but it is decided by its rules" in row.standing.verdict


def test_people__granted_where_access_ignores_grants__are_told_so_over_rest() -> None:
    operators.feature(access="rules")
    people = cast.people(2)

    told = Api().post("grants", {"feature": "voice-calls", "subscribers": [str(each.pk) for each in people]})

    assert (told.status_code, len(told.told["grants"])) == (201, 2)
    assert told.told["remark"].startswith("Voice calls is decided by its rules, so grants change nothing")
    features.set_access("voice-calls", access="granted", actor=TESTS, now=timezone.now())
    again = Api().post("grants", {"feature": "voice-calls", "subscribers": [str(people[0].pk)]})
    assert again.told["remark"] == ""


def test_overview__over_rest__carries_the_headcount_beside_the_grants() -> None:
    owner = operators.feature(access="rules", rules=[{"share_ppm": 1_000_000}])
    people = cast.people(3)
    cast.grant(owner, people[0])

    (told,) = Api().get("overview").told["features"]

    assert told["grants"] == 1
    assert {name: told["headcount"][name] for name in ("people", "having", "looked_at", "of", "exact")} == {
        "people": 3, "having": 3, "looked_at": 3, "of": 3, "exact": True,
    }  # fmt: skip


def test_overview__of_very_many_people__counts_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headcounts, "COUNTED_WHEN_ASKED", 2)
    monkeypatch.setattr("rollout.questions.people.everybody.__defaults__", (4,))
    monkeypatch.setattr("rollout.questions.people.ESTIMATE", "SELECT 1000::bigint")
    cast.people(6)
    operators.feature()

    with CaptureQueriesContext(connection) as caught:
        found = rows()["voice-calls"]

    assert found.subscribers == 1000
    asked = [query["sql"] for query in caught if "accounts_subscriber" in query["sql"]]
    assert asked
    assert all("LIMIT" in sql for sql in asked), asked
