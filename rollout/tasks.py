"""What beat and the actions ask of the workers: each reads the clock, calls actions, and owns no logic.

`tick` runs once a second on the queue `ticks`; it keeps going when one area or one window fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import structlog
from celery import shared_task
from django.utils import timezone

from controlplane.outbox.actions import Effect
from rollout.actions import capacity, headcounts, waves, windows
from rollout.actions.narrowing import publish_afterwards
from rollout.models import Area
from rollout.rules.limits import SWEEP_BATCH, SWEEPS_PER_TICK

log = structlog.get_logger(__name__)


@shared_task(ignore_result=True)
def tick() -> None:
    """Capacity of every area that is due, closing times, overdue reservations, and a nudge for open waves."""
    ticked = 0
    for area_id in Area.objects.filter(next_tick_at__lte=timezone.now()).order_by("id").values_list("id", flat=True):
        ticked += _kept(lambda: capacity.tick_area(area_id, now=timezone.now()) is not None, area=area_id)  # noqa: B023
    _kept(lambda: windows.close_due(now=timezone.now()) > 0)
    _kept(_sweep)
    if ticked:
        _kept(lambda: waves.nudge_open_waves() > 0)


def _kept(step: Callable[[], bool], **about: Any) -> bool:
    """Runs one step; its failure is logged and doesn't keep the others from running."""
    try:
        return step()
    except Exception:
        log.exception("tick.step_failed", **about)
        return False


def _sweep() -> bool:
    for _ in range(SWEEPS_PER_TICK):
        ended, returned = windows.sweep(most=SWEEP_BATCH)
        if not returned:
            return ended > 0
    return True


@shared_task(ignore_result=True)
def admit_wave(wave_id: int) -> None:
    if waves.admit(wave_id, now=timezone.now()).more:
        waves.nudge_wave(wave_id)


@shared_task(ignore_result=True)
def refresh_headcounts() -> None:
    headcounts.refresh_headcounts(now=timezone.now())


def deliver_window_reports(effects: Sequence[Effect], *, now: datetime) -> None:
    """The outbox's `window.closed`: its report, and the ruleset, should the closer not have published it."""
    for effect in effects:
        windows.write_report(int(effect.payload["window"]), now=now)
    publish_afterwards(windows.CLOSING_TIME, now=now, note="A window closed")
