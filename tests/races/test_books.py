"""The ledger as a state machine: whatever happens in whatever order, the books add up after every step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from controlplane.accounts.actions.leaving import delete_person
from controlplane.accounts.models import Subscriber
from rollout.actions.capacity import settle
from rollout.actions.grants import grant_people, leave_tombstones, revoke_grant
from rollout.models import Allowance, Grant, Measurement, Reservation, Wave, Window
from tests.rollout import cast

PEOPLE = 6
people = st.integers(0, PEOPLE - 1)


class Ledger(RuleBasedStateMachine):
    """A small world: six people, one area, windows of few places, waves now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.outer = transaction.atomic()
        self.outer.__enter__()
        self.calls: list[UUID] = []
        self.after_close: dict[int, int] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.outer.__exit__(None, None, None)

    @initialize()
    def begin(self) -> None:
        self.feature = cast.feature()
        self.area = cast.area(remaining=4, activations_per_minute=12)
        self.people: list[Subscriber] = cast.people(PEOPLE)
        cast.grant(self.feature, self.people[0])

    def window(self) -> Window | None:
        return Window.objects.filter(state="open").order_by("-id").first()

    @precondition(lambda self: self.window() is None)
    @rule(
        places=st.integers(1, 5),
        quota=st.integers(0, 3),
        root_budget=st.integers(0, 4),
        depth=st.none() | st.integers(0, 3),
        on=st.sampled_from(["answered", "offered"]),
    )
    def open(self, places: int, quota: int, root_budget: int, depth: int | None, on: str) -> None:
        limits: dict[str, Any] = {"places": places, "quota": quota, "root_budget": root_budget, "depth_limit": depth}
        cast.window(self.feature, activate_on=on, **limits)

    @precondition(lambda self: self.window() is not None)
    @rule()
    def close(self) -> None:
        window = self.window()
        assert window is not None
        cast.close(window.pk)
        self.after_close[window.pk] = Grant.objects.filter(window=window).count()

    @rule(inviter=people, callee=people)
    def reserve(self, inviter: int, callee: int) -> None:
        if inviter != callee:
            outcome, _, call = cast.reserve(self.people[inviter], self.people[callee])
            if outcome == "reserved":
                self.calls.append(call)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        cast.complete(data.draw(st.sampled_from(self.calls)))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        cast.release(data.draw(st.sampled_from(self.calls)))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        before = (Reservation.objects.count(), Grant.objects.count())
        cast.reserve(self.people[0], self.people[1], call=call)
        assert (Reservation.objects.count(), Grant.objects.count()) == before

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        cast.overdue([data.draw(st.sampled_from(self.calls))])

    @rule()
    def sweep(self) -> None:
        cast.sweep()
        assert cast.faults_in_books() == []

    @rule(who=people)
    def revoke(self, who: int) -> None:
        grant = Grant.objects.live().filter(subscriber=self.people[who]).first()
        if grant is not None:
            revoke_grant(grant.pk, actor=cast.OPERATOR, now=timezone.now())

    @rule(who=people)
    def leave(self, who: int) -> None:
        """The person is deleted; somebody new has their place from then on."""
        gone = self.people[who].pk
        delete_person(gone, unlink=leave_tombstones, actor=cast.OPERATOR, now=timezone.now())
        self.people[who] = cast.people(1)[0]

    @rule(who=people)
    def grant(self, who: int) -> None:
        grant_people(cast.CALLS, subscribers=[self.people[who].pk], actor=cast.OPERATOR, now=timezone.now())

    @rule(concurrent=st.sampled_from([0, 5, 14, 17, 30]), age=st.sampled_from([1, 100]))
    def tick(self, concurrent: int, age: int) -> None:
        at = timezone.now() - timedelta(seconds=age)
        Measurement.objects.create(area=self.area, sampled_at=at, concurrent_calls=concurrent, attempts=0)
        settle(self.area.pk, now=timezone.now())

    @rule()
    def wave(self) -> None:
        position = Wave.objects.count() + 1
        wave = Wave.objects.create(feature=self.feature, position=position, name="Wave", state="open")
        chosen = [person.pk for person in self.people[3:]]
        cast.ask("SELECT rollout_admit(%s, %s::uuid[], NULL, NULL, true)", wave.pk, chosen)

    @invariant()
    def books_add_up(self) -> None:
        if not hasattr(self, "feature"):
            return
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        assert cast.faults_in_books(returned=False) == []
        for window, grants in self.after_close.items():
            assert Grant.objects.filter(window=window).count() == grants
        for allowance in Allowance.objects.all():
            assert allowance.spent_total <= allowance.minted_total


@pytest.mark.django_db
def test_ledger__after_any_sequence_of_events__adds_up() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.django_db
def test_books__with_a_fault__are_seen_to_be_wrong() -> None:
    it = cast.launch()
    cast.complete(cast.reserve(it.alice, it.bob)[2])
    assert cast.faults_in_books() == []

    Window.objects.update(used=2)
    Allowance.objects.update(spent_total=7)

    assert len(cast.faults_in_books()) >= 3
    assert cast.complete(uuid4())[0] == "no_reservation"
