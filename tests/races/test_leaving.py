"""People who leave in the moment in which something is given to them: the books add up, and nobody is half there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from controlplane.accounts.actions.leaving import delete_person
from controlplane.accounts.models import Subscriber
from rollout.actions.grants import grant_people, leave_tombstones
from rollout.models import Grant, Reservation, Wave, Window
from tests.races.crowd import at_once
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


def leave(person: UUID) -> tuple[str]:
    delete_person(person, unlink=leave_tombstones, actor=cast.OPERATOR, now=timezone.now())
    return ("left",)


def outcomes(deeds: list[Callable[[], Any]]) -> Counter[str]:
    return Counter(answer[0] for answer in at_once(deeds))


def nobody_is_half_there(people: list[Subscriber]) -> bool:
    ids = [person.pk for person in people]
    live = Grant.objects.live().filter(subscriber=None).exists()
    return not (live or Subscriber.objects.filter(pk__in=ids).exists())


def test_callees__who_leave_while_they_answer__are_granted_or_not_and_every_place_is_counted() -> None:
    it = cast.launch(places=30, quota=30)
    callees = cast.people(30)
    calls = [cast.reserve(it.alice, callee)[2] for callee in callees]
    accepts = [partial(cast.complete, call) for call in calls]
    leaving = [partial(leave, callee.pk) for callee in callees]

    said = outcomes([deed for pair in zip(accepts, leaving, strict=True) for deed in pair])

    assert said["left"] == 30
    assert said["granted"] + said["no_reservation"] == 30
    window = Window.objects.get()
    assert (window.used, window.pending) == (said["granted"], 0)
    assert Grant.objects.filter(state="tombstone").count() == said["granted"]
    assert nobody_is_half_there(callees)
    assert cast.faults_in_books() == []


def test_people__who_leave_while_they_are_called__hold_no_place_afterwards() -> None:
    it = cast.launch(places=30, quota=30)
    callees = cast.people(30)
    demand = [partial(cast.reserve, it.alice, callee) for callee in callees]
    leaving = [partial(leave, callee.pk) for callee in callees]

    outcomes([deed for pair in zip(demand, leaving, strict=True) for deed in pair])

    for call in Reservation.objects.filter(state="pending").values_list("call", flat=True):
        assert cast.complete(call)[0] == "no_reservation"
    assert Window.objects.get().pending == 0
    assert nobody_is_half_there(callees)
    assert cast.faults_in_books() == []


def test_inviters__who_leave_while_they_bring_in_others__lose_no_place_and_no_friend() -> None:
    it = cast.launch(places=60, quota=2)
    inviters, callees = cast.people(20), cast.people(20)
    for inviter in inviters:
        cast.grant(it.feature, inviter)

    def invite(inviter: Subscriber, callee: Subscriber) -> tuple[str]:
        outcome, _, call = cast.reserve(inviter, callee)
        return (cast.complete(call)[0],) if outcome == "reserved" else (outcome,)

    deeds = [partial(invite, *pair) for pair in zip(inviters, callees, strict=True)]
    said = outcomes([*deeds, *(partial(leave, inviter.pk) for inviter in inviters)])

    assert said["left"] == 20
    assert Grant.objects.live().filter(subscriber__in=callees).count() == said["granted"]
    assert nobody_is_half_there(inviters)
    assert cast.faults_in_books() == []


def test_people__who_leave_while_a_wave_or_an_operator_gives_to_them__are_gone_from_both() -> None:
    it = cast.launch()
    chosen = cast.people(30)
    ids = [person.pk for person in chosen]
    wave = Wave.objects.create(feature=it.feature, position=1, name="Wave", state="open")
    admit = partial(cast.ask, "SELECT rollout_admit(%s, %s::uuid[], NULL, NULL, true)", wave.pk, ids)

    def give() -> tuple[str]:
        try:
            grant_people(cast.CALLS, subscribers=ids, actor=cast.OPERATOR, now=timezone.now())
        except Exception as error:
            return (type(error).__name__,)
        return ("given",)

    said = outcomes([*(partial(leave, person) for person in ids), lambda: ("wave", admit()), give])

    assert said["left"] == 30
    assert set(said) <= {"left", "wave", "given", "NotFound"}
    assert nobody_is_half_there(chosen)
    assert cast.faults_in_books() == []
