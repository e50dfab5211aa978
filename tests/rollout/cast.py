"""A feature, an area with allowance, and the cast of a launch: what tests of invites, waves and capacity stand on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import connection
from django.db.models import Count, Q, Sum
from django.utils import timezone

from controlplane.accounts.models import Subscriber
from controlplane.audit.record import Actor
from controlplane.audit.rules.verbs import Right
from controlplane.outbox.models import Outbox
from rollout.models import (
    Allowance,
    Area,
    Feature,
    Grant,
    InviterPlaces,
    Reservation,
    RootPlaces,
    Source,
    Window,
    WindowState,
)
from tests import builders

CALLS = "voice-calls"
OPERATOR = Actor.operator("olga", Right)


def feature(**fields: Any) -> Feature:
    values = {
        "key": CALLS,
        "name": "Voice calls",
        "salt": "5f2a9c01",
        "switch": "on",
        "access": "granted",
        "variants": {"on": True, "off": False},
        "visible_to_phones": True,
        **fields,
    }
    return Feature.objects.create(**values)


def area(*, key: str = "DE", remaining: int = 1000, **fields: Any) -> Area:
    """An area that takes people in: its allowance holds for a minute."""
    now = timezone.now()
    values = {
        "name": key,
        "countries": [key],
        "capacity_calls": 20,
        "state": "ramp",
        "reason": f"{key} takes people in.",
        "next_tick_at": now + timedelta(seconds=15),
        **fields,
    }
    made = Area.objects.create(key=key, **values)
    Allowance.objects.create(
        area=made, remaining=remaining, minted_total=remaining, valid_until=now + timedelta(seconds=60)
    )
    return made


def window(owner: Feature, **fields: Any) -> Window:
    values = {"name": "Window A", "state": WindowState.OPEN, "opened_at": timezone.now(), **fields}
    return Window.objects.create(feature=owner, **values)


def grant(owner: Feature, person: Subscriber, **fields: Any) -> Grant:
    values = {"source": Source.OPERATOR, "granted_at": timezone.now() - timedelta(hours=1), **fields}
    return Grant.objects.create(feature=owner, subscriber=person, **values)


def people(count: int, **fields: Any) -> list[Subscriber]:
    return [builders.subscriber(**fields) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Launch:
    """alice has calling; bob, carol and dave don't; one window is open in one area."""

    feature: Feature
    area: Area
    window: Window
    alice: Subscriber
    bob: Subscriber
    carol: Subscriber
    dave: Subscriber
    root: Grant


def launch(*, remaining: int = 1000, **of_window: Any) -> Launch:
    owner = feature()
    place = area(remaining=remaining)
    alice, bob, carol, dave = people(4)
    return Launch(owner, place, window(owner, **of_window), alice, bob, carol, dave, grant(owner, alice))


def ask(sql: str, *values: Any) -> Any:
    """The first row of a query, as the edge asks it."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def loaded(value: Any) -> Any:
    """A jsonb value: Django hands it over as text."""
    import json

    return json.loads(value) if isinstance(value, str) else value


def reserve(
    inviter: Subscriber | UUID, callee: Subscriber | UUID, *, call: UUID | None = None, seconds: float = 60
) -> tuple[str, dict[str, Any], UUID]:
    """The outcome, its detail, and the call's id."""
    call = call or uuid4()
    outcome, detail = ask(
        "SELECT outcome, detail FROM rollout_reserve(%s, %s, %s, %s, make_interval(secs => %s))",
        CALLS,
        call,
        getattr(inviter, "pk", inviter),
        getattr(callee, "pk", callee),
        seconds,
    )
    return outcome, loaded(detail), call


def complete(call: UUID) -> tuple[str, dict[str, Any]]:
    outcome, detail = ask("SELECT outcome, detail FROM rollout_complete(%s, %s)", CALLS, call)
    return outcome, loaded(detail)


def release(call: UUID, why: str = "cancelled") -> bool:
    return bool(ask("SELECT rollout_release(%s, %s, %s)", CALLS, call, why)[0])


def close(window_id: int) -> tuple[bool, int]:
    return tuple(ask("SELECT closed, cancelled FROM rollout_close_window(%s)", window_id))


def sweep() -> tuple[int, int]:
    return tuple(ask("SELECT ended, returned FROM rollout_sweep(500)"))


def verdict(caller: Subscriber, callee: Subscriber | None, country: str | None = None) -> tuple[str, dict[str, Any]]:
    outcome, detail = ask(
        "SELECT outcome, detail FROM rollout_invite_verdict(rollout_invite_facts(%s, %s, %s, %s))",
        CALLS,
        caller.pk,
        callee and callee.pk,
        country,
    )
    return outcome, loaded(detail)


def overdue(calls: Iterable[UUID]) -> None:
    """Lets the reservations of these calls run out, as if their time had passed."""
    Reservation.objects.filter(call__in=list(calls)).update(expires_at=timezone.now() - timedelta(seconds=1))


def faults_in_books(*, returned: bool = True) -> list[str]:
    """What doesn't add up: grants, places, reservations, announcements and allowance, each counted on its own.

    With `returned` False, inviters' and roots' places may still wait for the sweeper.
    """
    faults = []
    invites = Grant.objects.filter(source="invite")
    told = Outbox.objects.filter(kind="grant.created").count()
    if told != Grant.objects.filter(id__in=_announced()).count():
        faults.append(f"{told} announcements for fewer grants")
    if missing := set(invites.values_list("id", flat=True)) - set(_announced()):
        faults.append(f"grants {missing} were not announced")
    for each in Window.objects.all():
        made = invites.filter(window=each).count()
        held = each.reservations.filter(state="pending").count()
        late = each.reservations.exclude(state="pending").filter(places_returned=False).count()
        if each.used != made:
            faults.append(f"window {each.pk}: {each.used} used, {made} grants")
        if each.state != "closed" and each.pending != held + late:
            faults.append(f"window {each.pk}: {each.pending} pending, {held} reservations and {late} late")
        if each.used + each.pending > each.places:
            faults.append(f"window {each.pk}: more than its places")
    for model, owner in ((InviterPlaces, "inviter"), (RootPlaces, "root")):
        for row in model.objects.all():
            mine = Reservation.objects.filter(window=row.window, **{owner: getattr(row, owner)})
            counted = mine.aggregate(
                used=Count("id", filter=Q(state="completed")), held=Count("id", filter=Q(places_returned=False))
            )
            if (row.used, row.pending) != (counted["used"], counted["held"]):
                faults.append(f"{model.__name__} {row.pk}: {row.used}+{row.pending}, but {counted}")
            if returned and row.window.state == "closed" and row.pending:
                faults.append(f"{model.__name__} {row.pk}: {row.pending} pending in a closed window")
    for allowance in Allowance.objects.all():
        spent = (
            Grant.objects.filter(area=allowance.area, source="wave").count()
            + Reservation.objects.filter(area=allowance.area).count()
        )
        if allowance.spent_total != spent:
            faults.append(f"area {allowance.area_id}: {allowance.spent_total} spent, {spent} drawn")
        if allowance.spent_total + allowance.remaining > allowance.minted_total:
            faults.append(f"area {allowance.area_id}: more than was minted")
    completed = Reservation.objects.filter(state="completed").count()
    if completed != invites.count() or completed != (Window.objects.aggregate(n=Sum("used"))["n"] or 0):
        faults.append(f"{completed} completed reservations, {invites.count()} invite grants")
    return faults


def _announced() -> list[int]:
    keys = Outbox.objects.filter(kind="grant.created").values_list("key", flat=True)
    return [int(key.removeprefix("grant:")) for key in keys]


def shortly(seconds: float) -> datetime:
    return timezone.now() + timedelta(seconds=seconds)
