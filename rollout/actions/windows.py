"""Invite windows: made, opened, closed, and reported on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, transaction

from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, NotFound
from controlplane.base.wording import shown
from controlplane.outbox.actions import nudge
from rollout.actions.narrowing import publish_afterwards
from rollout.actions.rulesets import publish
from rollout.errors import FeatureUnknown, GrantsIgnored, WindowNotOpenable
from rollout.models import ActivateOn, Area, Feature, Window
from rollout.questions.windows import count_window
from rollout.rules.definition.feature import Access
from rollout.rules.limits import WINDOW_NUMBER_MOST
from rollout.rules.spread import window as rule
from rollout.rules.spread.standing import grants_ignored

log = structlog.get_logger(__name__)

CLOSING_TIME = Actor.automatic("closing time")


@transaction.atomic
def create_window(
    feature: str,
    *,
    name: str,
    question: str = "",
    test: bool = False,
    areas: Sequence[str] = (),
    activate_on: str = ActivateOn.ANSWERED,
    quota: int = 5,
    depth_limit: int | None = None,
    places: int = 1000,
    root_budget: int = 1000,
    min_grant_age_seconds: int = 0,
    closes_at: datetime | None = None,
    actor: Actor,
    now: datetime,
    reason: str = "",
) -> Window:
    """A scheduled window; nobody can invite through it until it is opened. Raises `NotFound` and `BadInput`."""
    owner = Feature.objects.filter(key=feature).first()
    if owner is None:
        raise FeatureUnknown(feature)
    chosen = list(Area.objects.filter(key__in=areas))
    if missing := set(areas) - {area.key for area in chosen}:
        raise NotFound(f"There is no area {', '.join(sorted(missing))}.")
    numbers = {
        "quota": quota,
        "depth_limit": depth_limit,
        "places": places,
        "root_budget": root_budget,
        "min_grant_age_seconds": min_grant_age_seconds,
    }
    _check(activate_on, numbers, closes_at, now)
    terms: dict[str, Any] = {**numbers, "test": test, "activate_on": activate_on, "closes_at": closes_at}
    title = shown(name.strip()[:100], "name") or f"Window of {now:%d %B %Y}"
    window = Window(feature=owner, name=title, question=shown(question, "question"), **terms)
    window.save()
    window.areas.set(chosen)
    detail = {"feature": feature, "areas": sorted(areas), **terms}
    record("window.created", subject=_subject(window), actor=actor, now=now, reason=reason, detail=detail)
    return window


def _check(activate_on: str, numbers: Mapping[str, int | None], closes_at: datetime | None, now: datetime) -> None:
    if activate_on not in list(ActivateOn):
        raise BadInput(f"Choose one of {', '.join(ActivateOn)}.", path="activate_on")
    for field, value in numbers.items():
        least = 1 if field == "places" else 0
        if value is not None and not least <= value <= WINDOW_NUMBER_MOST:
            raise BadInput(f"Give a number from {least} to {WINDOW_NUMBER_MOST:,}.", path=field)
    if rule.is_due(closes_at, now):
        raise BadInput("A window closes in the future.", path="closes_at")


@transaction.atomic
def open_window(window_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Window:
    """Inviting is open from the commit on. Raises `NotFound`, `WindowNotOpenable` unless it is scheduled, and
    `GrantsIgnored`.
    """
    window = _locked(window_id)
    if not rule.can_open(rule.WindowState(window.state)):
        raise WindowNotOpenable(f"“{window.name}” is {window.state}: make another window to open inviting again.")
    if rule.is_due(window.closes_at, now):
        raise WindowNotOpenable(f"“{window.name}” should have closed at {window.closes_at:%d %B %Y %H:%M} UTC.")
    if ignored := grants_ignored(window.feature.name, Access(window.feature.access)):
        raise GrantsIgnored(ignored)
    window.state = rule.WindowState.OPEN
    window.opened_at = now
    window.save(update_fields=["state", "opened_at"])
    record("window.opened", subject=_subject(window), actor=actor, now=now, reason=reason)
    publish(actor, now, f"Opened the window “{window.name}”")
    return window


@dataclass(frozen=True, slots=True)
class Closed:
    """`changed` is False when it had been closed before; `cancelled` counts the ringing invites that it ended."""

    window: Window
    changed: bool
    cancelled: int


def close_window(window_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Closed:
    """When this returns, the close is committed: nobody is granted through the window any more.

    Its report is ordered in the same transaction. The ruleset, which only words depend on, is published afterwards.
    Raises `NotFound`.
    """
    with transaction.atomic(durable=True):  # within somebody else's transaction, the promise could not be kept
        if not Window.objects.filter(pk=window_id).exists():
            raise NotFound(f"There is no window {window_id}.")
        with connection.cursor() as cursor:
            cursor.execute("SELECT closed, cancelled FROM rollout_close_window(%s)", [window_id])
            changed, cancelled = cursor.fetchone()
        window = Window.objects.get(pk=window_id)
        if changed:
            detail = {"cancelled": cancelled, "used": window.used}
            record("window.closed", subject=_subject(window), actor=actor, now=now, reason=reason, detail=detail)
            transaction.on_commit(nudge)
    if changed:
        publish_afterwards(actor, now=now, note=f"Closed the window “{window.name}”")
    return Closed(window, changed, cancelled)


def close_due(*, now: datetime) -> int:
    """Closes every window whose closing time has come. Returns how many. One that fails doesn't keep others open: it is
    logged, and comes again with the next tick.
    """
    closed = 0
    for each in Window.objects.due(now).order_by("id").values_list("id", flat=True):
        try:
            closed += close_window(each, actor=CLOSING_TIME, now=now, reason="Its time was over.").changed
        except Exception:
            log.exception("window.close_failed", window=each)
    return closed


@transaction.atomic
def write_report(window_id: int, *, now: datetime) -> dict[str, Any]:
    """Counts what a closed window did, and keeps it with the window. Writing it again gives the same numbers."""
    window = _locked(window_id)
    report = rule.report(count_window(window, now=now))
    if window.report is None:
        record("window.reported", subject=_subject(window), actor=CLOSING_TIME, now=now, detail=report)
    window.report = report
    window.save(update_fields=["report"])
    return report


def sweep(*, most: int) -> tuple[int, int]:
    """Ends overdue reservations and gives places back: how many ended, and how many places were returned."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT ended, returned FROM rollout_sweep(%s)", [most])
        ended, returned = cursor.fetchone()
    return ended, returned


def _locked(window_id: int) -> Window:
    window = Window.objects.select_for_update(no_key=True).filter(pk=window_id).first()
    if window is None:
        raise NotFound(f"There is no window {window_id}.")
    return window


def _subject(window: Window) -> str:
    return f"window:{window.pk} {window.name}"
