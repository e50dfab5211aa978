"""Waves and controllers at once: nobody is admitted twice, and no more than was minted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from django.utils import timezone

from rollout.actions.areas import create_area
from rollout.actions.capacity import tick_area
from rollout.actions.waves import Admission, admit
from rollout.errors import AreaExists
from rollout.models import Allowance, Area, CapacityDecision, Grant, Wave
from tests.races.crowd import at_once
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


def wave(feature: Any, position: int) -> Wave:
    return Wave.objects.create(
        feature=feature, position=position, name=f"Wave {position}", state="open", opened_at=timezone.now()
    )


def run(one: Wave, batch: int) -> Admission:
    return admit(one.pk, now=timezone.now(), batch=batch)


def test_one_wave__run_by_eight_workers__admits_everybody_once() -> None:
    feature = cast.feature()
    cast.area()
    cast.people(60)
    only = wave(feature, 1)

    at_once([partial(run, only, 7)] * 8)
    while not run(only, 7).done and Wave.objects.get().state == "open":
        pass

    assert Grant.objects.count() == 60
    assert Wave.objects.get().admitted == 60
    assert cast.faults_in_books() == []


def test_two_waves__over_the_same_people__admit_everybody_once() -> None:
    feature = cast.feature()
    cast.area()
    cast.people(60)
    waves = [wave(feature, 1), wave(feature, 2)]

    at_once([partial(run, each, 10) for each in waves])

    assert Grant.objects.count() == 60
    assert sum(each.admitted for each in Wave.objects.all()) == 60
    assert cast.faults_in_books() == []


def test_two_waves_and_invites__on_one_allowance__spend_no_more_than_it_holds() -> None:
    it = cast.launch(remaining=25, quota=100)
    cast.people(60)
    waves = [wave(it.feature, 1), wave(it.feature, 2)]
    deeds: list[Callable[[], Any]] = [partial(run, each, 6) for each in waves]
    deeds += [partial(cast.reserve, it.alice, callee) for callee in cast.people(20)]

    at_once(deeds)

    allowance = Allowance.objects.get()
    assert (allowance.remaining, allowance.spent_total) == (0, 25)
    assert cast.faults_in_books() == []


def test_one_tick__taken_by_eight_controllers__mints_once(redis_url: str) -> None:
    de = cast.area(state="unknown", remaining=0, next_tick_at=timezone.now())
    with redis.Redis.from_url(redis_url) as store:
        at = timezone.now().timestamp() * 1000
        store.hset("rc:edges", "edge-1", json.dumps({"at": at, "areas": {"DE": {"concurrent": 1}}, "sockets": 1}))
    now = timezone.now() + timedelta(seconds=1)

    told = at_once([partial(tick_area, de.pk, now=now)] * 8)

    assert sum(each is not None for each in told) == 1
    assert Allowance.objects.get().minted_total == 250
    assert CapacityDecision.objects.count() == 1
    assert Area.objects.get().state == "ramp"


def test_area__made_by_four_at_once__is_made_once_and_refused_thrice() -> None:
    def make() -> str:
        try:
            create_area("DE", capacity_calls=20, countries=["DE"], actor=cast.OPERATOR, now=timezone.now())
        except AreaExists:
            return "refused"
        return "made"

    assert sorted(at_once([make] * 4)) == ["made", "refused", "refused", "refused"]
