"""The outbox: asked for once, delivered once, in order, whatever fails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction
from django.utils import timezone

from controlplane.base.breaker import Breaker
from controlplane.outbox import actions
from controlplane.outbox.actions import BATCH, Effect, deliver_due, enqueue, nudge
from controlplane.outbox.models import Outbox

delivered: list[tuple[str, dict[str, Any]]] = []
counted: list[str] = []
batches: list[int] = []
failing: set[str] = set()


def deliver(effects: Sequence[Effect], *, now: Any) -> None:
    """A handler that writes a row of its own for each effect, and fails where the test says so."""
    for effect in effects:
        enqueue("test.echo", key=f"echo of {effect.key}", payload=effect.payload)
    if any(effect.key in failing for effect in effects):
        raise ConnectionError("the other side is away")
    delivered.extend((effect.key, effect.payload) for effect in effects)
    batches.append(len(effects))


def count(effects: Sequence[Effect], *, now: Any) -> None:
    """Another handler of the same kind."""
    counted.extend(effect.key for effect in effects)


@pytest.fixture(autouse=True)
def handlers(settings: Any) -> None:
    delivered.clear()
    counted.clear()
    batches.clear()
    failing.clear()
    settings.OUTBOX_HANDLERS = {"test.effect": [f"{__name__}.deliver"]}


def ask(*keys: str, **changes: Any) -> None:
    for key in keys:
        enqueue("test.effect", key=key, payload={"n": key}, **changes)


@pytest.mark.django_db
def test_effect__asked_for_twice__is_one_row() -> None:
    first = enqueue("test.effect", key="a", payload={"n": 1})
    second = enqueue("test.effect", key="a", payload={"n": 2})

    assert (first, second) == (True, False)
    assert Outbox.objects.get().payload == {"n": 1}


@pytest.mark.django_db
def test_effect__of_a_change_that_failed__is_not_asked_for() -> None:
    def change() -> None:
        with transaction.atomic():
            ask("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()

    assert not Outbox.objects.exists()


@pytest.mark.django_db
def test_effects__that_are_due__are_delivered_once_in_order() -> None:
    ask("a", "b", "c")
    now = timezone.now()

    assert (deliver_due(now), deliver_due(now)) == (3, 0)

    assert delivered == [("a", {"n": "a"}), ("b", {"n": "b"}), ("c", {"n": "c"})]
    assert set(Outbox.objects.filter(kind="test.effect").values_list("delivered_at", flat=True)) == {now}


@pytest.mark.django_db
def test_effect__due_later__waits_for_its_time() -> None:
    now = timezone.now()
    ask("a", due_at=now + timedelta(seconds=10))

    assert deliver_due(now + timedelta(seconds=9)) == 0
    assert deliver_due(now + timedelta(seconds=10)) == 1


@pytest.mark.django_db
def test_effect__that_fails__holds_up_nobody_and_is_tried_again_later() -> None:
    ask("a", "b")
    failing.add("a")
    now = timezone.now()

    assert deliver_due(now) == 1

    row = Outbox.objects.get(key="a")
    assert (row.attempts, row.last_error) == (1, "ConnectionError: the other side is away")
    assert list(Outbox.objects.failing()) == [row]
    assert not Outbox.objects.filter(key="echo of a").exists(), "what the handler wrote went with its failure"
    assert deliver_due(now) == 0
    failing.clear()
    assert deliver_due(now + timedelta(seconds=1)) == 1
    assert [key for key, _ in delivered] == ["b", "a"]


@pytest.mark.django_db
def test_kind__without_a_handler__waits_and_is_counted() -> None:
    enqueue("test.unknown", key="a", payload={})
    ask("b")

    assert deliver_due(timezone.now()) == 1

    assert Outbox.objects.get(key="a").attempts == 0
    assert Outbox.objects.waiting_by_kind() == {"test.unknown": 1, "test.echo": 1}


@pytest.mark.django_db
def test_handler__that_does_not_exist__is_a_failure_like_any_other(settings: Any) -> None:
    settings.OUTBOX_HANDLERS = {"test.effect": ["nowhere.at_all"]}
    ask("a")

    assert deliver_due(timezone.now()) == 0

    assert "ModuleNotFoundError" in Outbox.objects.get().last_error


@pytest.mark.django_db
def test_row__written_by_sql__is_delivered_too() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO outbox_outbox (key, kind, payload) VALUES ('a', 'test.effect', '{}')")

    assert deliver_due(timezone.now()) == 1


def test_nudge__without_a_broker__fails_silently_and_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "_broker", Breaker(rest=5))
    with mock.patch.object(actions.current_app, "send_task", side_effect=ConnectionError) as send:
        nudge()
        nudge()

    assert send.call_count == 1


@pytest.mark.django_db
def test_nudge__comes_with_the_commit_only(django_capture_on_commit_callbacks: Any) -> None:
    sent = mock.patch.object(actions.current_app, "send_task")
    with sent as send, django_capture_on_commit_callbacks(execute=True):
        ask("a")
        assert send.call_count == 0

    assert send.call_args.args == ("outbox.deliver",)
    assert send.call_args.kwargs["queue"] == "ticks"


@pytest.mark.django_db
def test_effects__many_at_once__come_in_batches() -> None:
    ask(*(f"{n:04}" for n in range(BATCH + 1)))

    assert deliver_due(timezone.now()) == BATCH + 1

    assert batches == [BATCH, 1]
    assert [key for key, _ in delivered] == [f"{n:04}" for n in range(BATCH + 1)]


@pytest.mark.django_db
def test_effect__of_two_handlers__is_delivered_once_both_have_taken_it(settings: Any) -> None:
    settings.OUTBOX_HANDLERS = {"test.effect": [f"{__name__}.deliver", f"{__name__}.count"]}
    ask("a")
    failing.add("a")
    now = timezone.now()

    assert deliver_due(now) == 1
    assert (counted, Outbox.objects.get(key="a").delivered_at) == (["a"], None)
    failing.clear()
    later = now + timedelta(seconds=1)
    assert deliver_due(later) == 1

    assert (counted, [key for key, _ in delivered]) == (["a"], ["a"]), "nobody gets it twice"
    assert Outbox.objects.get(key="a").delivered_at == later
