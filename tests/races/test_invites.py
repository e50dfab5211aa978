"""Invites at once, on the real PostgreSQL: limits hold exactly, and of two that exclude each other one wins."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from rollout.actions.grants import grant_people, revoke_grant
from rollout.models import Allowance, Area, Grant, Reservation, Window
from tests.races.crowd import at_once
from tests.rollout import cast
from tests.rollout.cast import Launch

pytestmark = pytest.mark.django_db(transaction=True)

CROWD = 64


def inviters(it: Launch, count: int = CROWD) -> list[Any]:
    found = cast.people(count)
    for each in found:
        cast.grant(it.feature, each)
    return found


def outcomes(deeds: list[Callable[[], Any]]) -> Counter[str]:
    return Counter(answer[0] for answer in at_once(deeds))


def invite(inviter: Any, callee: Any) -> tuple[str, str]:
    """The whole way: reserve, and answer at once."""
    outcome, _, call = cast.reserve(inviter, callee)
    return (outcome, "") if outcome != "reserved" else (cast.complete(call)[0], outcome)


def test_64_inviters__on_a_window_of_ten_places__bring_in_exactly_ten() -> None:
    it = cast.launch(places=10)
    pairs = list(zip(inviters(it), cast.people(CROWD), strict=True))

    said = outcomes([partial(invite, *pair) for pair in pairs])

    assert said == {"granted": 10, "budget_spent": 54}
    assert Window.objects.get().used == 10
    assert cast.faults_in_books() == []


def test_one_inviter__on_a_quota_of_ten__brings_in_exactly_ten() -> None:
    it = cast.launch(quota=10)

    said = outcomes([partial(invite, it.alice, callee) for callee in cast.people(40)])

    assert said == {"granted": 10, "quota_spent": 30}
    assert cast.faults_in_books() == []


def test_64_inviters__below_one_root_with_a_budget_of_ten__bring_in_exactly_ten() -> None:
    it = cast.launch(root_budget=10)
    pairs = []
    for callee in cast.people(CROWD):
        inviter = cast.people(1)[0]
        cast.grant(it.feature, inviter, root=it.root.pk, depth=1)
        pairs.append((inviter, callee))

    said = outcomes([partial(invite, *pair) for pair in pairs])

    assert said == {"granted": 10, "root_budget": 54}
    assert cast.faults_in_books() == []


def test_64_inviters__on_an_allowance_of_ten__bring_in_exactly_ten() -> None:
    it = cast.launch(remaining=10)
    pairs = list(zip(inviters(it), cast.people(CROWD), strict=True))

    said = outcomes([partial(invite, *pair) for pair in pairs])

    assert said == {"granted": 10, "throttled": 54}
    assert (Allowance.objects.get().remaining, Allowance.objects.get().spent_total) == (0, 10)
    assert cast.faults_in_books() == []


def test_64_inviters__on_ten_places_in_a_window_that_activates_on_the_offer__bring_in_exactly_ten() -> None:
    it = cast.launch(places=10, activate_on="offered")
    pairs = list(zip(inviters(it), cast.people(CROWD), strict=True))

    said = outcomes([partial(cast.reserve, *pair) for pair in pairs])

    assert said == {"granted": 10, "budget_spent": 54}
    assert cast.faults_in_books() == []


def test_32_inviters__calling_the_same_person__activate_them_once() -> None:
    it = cast.launch()

    said = outcomes([partial(invite, inviter, it.bob) for inviter in inviters(it, 32)])

    assert said["granted"] == 1
    assert set(said) <= {"granted", "already", "callee_ineligible"}
    assert Grant.objects.filter(subscriber=it.bob).count() == 1
    assert cast.faults_in_books() == []


def test_one_call__reserved_sixteen_times_at_once__has_one_place() -> None:
    it = cast.launch()
    call = uuid4()

    said = outcomes([partial(cast.reserve, it.alice, it.bob, call=call)] * 16)

    assert said == {"reserved": 16}
    assert Window.objects.get().pending == 1
    assert cast.faults_in_books() == []


def test_one_call__completed_sixteen_times_at_once__has_one_grant() -> None:
    it = cast.launch()
    call = cast.reserve(it.alice, it.bob)[2]

    assert outcomes([partial(cast.complete, call)] * 16) == {"granted": 16}
    assert Window.objects.get().used == 1
    assert cast.faults_in_books() == []


@pytest.mark.parametrize("turn", range(3))
def test_accept_against_cancel__of_twenty_calls__exactly_one_wins_each(turn: int) -> None:
    it = cast.launch(quota=100)
    calls = [cast.reserve(it.alice, callee)[2] for callee in cast.people(20)]
    deeds: list[Callable[[], Any]] = []
    for call in calls:
        deeds += [partial(cast.complete, call), partial(cast.release, call)]

    answers = at_once(deeds)

    for accepted, released in zip(answers[::2], answers[1::2], strict=True):
        assert (accepted[0] == "granted") is not released
    assert Window.objects.get().pending == 0
    assert cast.faults_in_books() == []


@pytest.mark.parametrize("turn", range(3))
def test_window_closed_in_the_middle__of_64_answers__grants_nobody_after_the_acknowledgement(turn: int) -> None:
    it = cast.launch(quota=100, places=100)
    calls = [cast.reserve(it.alice, callee)[2] for callee in cast.people(32)]
    late = list(zip(inviters(it, 31), cast.people(31), strict=True))
    acknowledged: list[float] = []

    def close() -> tuple[str, float]:
        time.sleep(random.uniform(0, 0.1))
        assert cast.close(it.window.pk)[0]
        acknowledged.append(time.monotonic())
        return ("closed", 0.0)

    def accept(call: Any) -> tuple[str, float]:
        time.sleep(random.uniform(0, 0.1))
        began = time.monotonic()
        return (cast.complete(call)[0], began)

    def whole(pair: Any) -> tuple[str, float]:
        time.sleep(random.uniform(0, 0.1))
        began = time.monotonic()
        return (invite(*pair)[0], began)

    answers = at_once([close, *(partial(accept, call) for call in calls), *(partial(whole, pair) for pair in late)])

    granted = [began for outcome, began in answers if outcome == "granted"]
    assert {outcome for outcome, _ in answers} <= {"closed", "granted", "window_closed"}
    assert all(began < acknowledged[0] for began in granted)
    closed_at = Window.objects.get().closed_at
    assert not Grant.objects.filter(source="invite", granted_at__gt=closed_at).exists()
    assert Window.objects.get().used == len(granted)
    cast.sweep()
    assert cast.faults_in_books() == []
    assert not Reservation.objects.filter(state="pending").exists()


def test_expiry_against_accept__of_twenty_calls__books_stay_exact() -> None:
    it = cast.launch(quota=100)
    calls = [cast.reserve(it.alice, callee, seconds=0.05)[2] for callee in cast.people(20)]

    at_once([*(partial(cast.complete, call) for call in calls), cast.sweep, cast.sweep, cast.sweep])

    time.sleep(0.06)
    cast.sweep()
    assert not Reservation.objects.filter(state="pending").exists()
    assert cast.faults_in_books() == []


def test_revoking_the_inviter__against_ten_accepts__grants_nobody_afterwards() -> None:
    it = cast.launch(quota=100)
    calls = [cast.reserve(it.alice, callee)[2] for callee in cast.people(10)]

    def revoke() -> tuple[str, Any]:
        revoke_grant(it.root.pk, actor=cast.OPERATOR, now=timezone.now())
        return ("revoked", {})

    said = outcomes([revoke, *(partial(cast.complete, call) for call in calls)])

    assert said["granted"] + said["inviter_frozen"] == 10
    assert cast.faults_in_books() == []
    assert cast.reserve(it.alice, it.dave)[0] == "inviter_frozen"


def test_operator_and_inviter__granting_the_same_people__give_one_grant_each() -> None:
    it = cast.launch(quota=100)
    crowd = cast.people(10)
    calls = [cast.reserve(it.alice, callee)[2] for callee in crowd]

    def by_hand() -> tuple[str, Any]:
        people = [one.pk for one in crowd]
        return ("by_hand", grant_people(cast.CALLS, subscribers=people, actor=cast.OPERATOR, now=timezone.now()))

    said = outcomes([by_hand, *(partial(cast.complete, call) for call in calls)])

    assert said["granted"] + said["already"] == 10
    assert Grant.objects.filter(subscriber__in=crowd).count() == 10
    assert cast.faults_in_books() == []


def test_connection_killed__in_the_middle_of_an_accept__leaves_the_place_for_another_try() -> None:
    from django.db import OperationalError

    it = cast.launch()
    call = cast.reserve(it.alice, it.bob)[2]

    def accept_and_die() -> str:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT outcome FROM rollout_complete(%s, %s)", [cast.CALLS, call])
            assert cursor.fetchone()[0] == "granted"
            try:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            except OperationalError:
                return "died"
        return "lived"

    assert at_once([accept_and_die]) == ["died"]
    assert not Grant.objects.filter(source="invite").exists()
    assert cast.faults_in_books() == []
    assert cast.complete(call)[0] == "granted"
    assert cast.faults_in_books() == []


def test_hold__against_64_invites__lets_nobody_in_after_it_was_committed() -> None:
    it = cast.launch()
    pairs = list(zip(inviters(it, 31), cast.people(31), strict=True))
    held_at: list[float] = []

    def hold() -> tuple[str, float]:
        from rollout.actions.capacity import settle

        Area.objects.filter(pk=it.area.pk).update(state="ramp")
        settle(it.area.pk, now=timezone.now())  # no measurement: unknown
        held_at.append(time.monotonic())
        return ("held", 0.0)

    def demand(pair: Any) -> tuple[str, float]:
        time.sleep(random.uniform(0, 0.1))
        began = time.monotonic()
        return (cast.reserve(*pair)[0], began)

    answers = at_once([hold, *(partial(demand, pair) for pair in pairs)])

    assert all(began < held_at[0] for outcome, began in answers if outcome == "reserved")
    assert {outcome for outcome, _ in answers} <= {"held", "reserved", "throttled"}
    assert Allowance.objects.get().remaining == 0
    assert cast.faults_in_books() == []
