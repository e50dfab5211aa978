"""Two sweepers at once, and a delivery that is cut off: each effect once, none lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from controlplane.outbox.actions import Effect, deliver_due, deliver_side_by_side, enqueue
from controlplane.outbox.models import Outbox
from tests.races.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)

delivered: list[str] = []
began, go = threading.Event(), threading.Event()


def deliver(effects: Sequence[Effect], *, now: Any) -> None:
    delivered.extend(effect.key for effect in effects)


def deliver_slowly(effects: Sequence[Effect], *, now: Any) -> None:
    began.set()
    go.wait(10)
    delivered.extend(effect.key for effect in effects)


@pytest.fixture(autouse=True)
def handlers(settings: Any) -> None:
    delivered.clear()
    began.clear()
    go.clear()
    settings.OUTBOX_HANDLERS = {
        "test.effect": [f"{__name__}.deliver"],
        "test.slow": [f"{__name__}.deliver_slowly"],
    }


def test_effects__swept_by_four_at_once__are_delivered_once_each() -> None:
    for number in range(40):
        enqueue("test.effect", key=str(number), payload={})
    now = timezone.now()

    at_once(4, lambda _: deliver_due(now))
    deliver_due(now)

    assert sorted(delivered, key=int) == [str(number) for number in range(40)]


def test_same_key__asked_for_by_sixteen_at_once__is_one_row() -> None:
    outcomes = at_once(16, lambda _: enqueue("test.effect", key="a", payload={}))

    assert sorted(outcomes, key=str) == [False] * 15 + [True]
    assert Outbox.objects.count() == 1


def test_delivery__whose_connection_is_killed__is_made_again() -> None:
    enqueue("test.slow", key="a", payload={})
    now = timezone.now()
    pids: list[int] = []

    def sweep(_: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.append(cursor.fetchone()[0])
        return deliver_due(now)

    def kill(_: int) -> None:
        assert began.wait(10)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pids[0]])
        go.set()

    at_once(2, lambda number: sweep(number) if number == 0 else kill(number))

    assert Outbox.objects.get().delivered_at is None
    assert deliver_due(timezone.now()) == 1
    assert Outbox.objects.get().delivered_at is not None


def test_slow_handler__beside_another__delays_nobody_and_is_not_started_twice() -> None:
    enqueue("test.slow", key="slow", payload={})
    enqueue("test.effect", key="quick", payload={})

    deliver_side_by_side(timezone.now(), patience=2)
    assert delivered == ["quick"]
    enqueue("test.effect", key="next", payload={})
    deliver_side_by_side(timezone.now(), patience=2)
    assert delivered == ["quick", "next"]

    go.set()
    deliver_side_by_side(timezone.now(), patience=10)
    assert delivered == ["quick", "next", "slow"]
    assert Outbox.objects.filter(delivered_at=None).count() == 0
