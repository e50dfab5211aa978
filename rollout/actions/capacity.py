"""The capacity controller at work: claim a tick, measure, decide, mint or void, and write down why."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Least, Now

from controlplane.audit.record import Actor, record
from rollout.actions.evidence import config_of, measure
from rollout.models import Allowance, Area, CapacityDecision
from rollout.rules.capacity.controller import Sample, Tick, decide, headline
from rollout.rules.definition.area import AreaState

log = structlog.get_logger(__name__)

CONTROLLER = Actor.automatic("capacity controller")


def claim(area: Area, *, now: datetime) -> bool:
    """True for exactly one caller per tick of the area: whoever moves its next tick on (in `area`, too).

    Ticks keep to their rhythm, so that a worker that looks once a second doesn't mint less than the area's rate; a tick
    that was missed is not made up for.
    """
    tick = timedelta(seconds=area.tick_seconds)
    following = area.next_tick_at + tick if area.next_tick_at + tick > now else now + tick
    mine = Area.objects.filter(pk=area.pk, next_tick_at=area.next_tick_at, next_tick_at__lte=now)
    if mine.update(next_tick_at=following) != 1:
        return False
    area.next_tick_at = following
    return True


def tick_area(area_id: int, *, now: datetime) -> Tick | None:
    """One tick of one area, or None when it isn't due or somebody else has it.

    After it, the allowance is what this tick minted (an earlier portion is gone), the area's state and reason stand in
    words, and a decision record holds what was seen. A crash on the way mints nothing, and neither does a worker that
    stood still on the way until another tick was claimed.
    """
    area = Area.objects.get(pk=area_id)
    if area.next_tick_at > now or not claim(area, now=now):
        return None
    trouble = measure(area, now=now)
    return settle(area_id, now=now, trouble=trouble, claimed=area.next_tick_at)


@transaction.atomic
def settle(area_id: int, *, now: datetime, trouble: str = "", claimed: datetime | None = None) -> Tick | None:
    """Decide from the newest measurement, and persist: state, allowance, decision, and an audit entry on a change.

    With `claimed`, the next tick as the claim set it, None when somebody has claimed a later one since.
    """
    area = Area.objects.select_for_update(no_key=True).get(pk=area_id)
    if claimed is not None and area.next_tick_at != claimed:
        log.warning("tick.overtaken", area=area.key)
        return None
    newest = area.measurements.order_by("-id").first()
    sample = Sample(newest.sampled_at, newest.concurrent_calls, newest.attempts) if newest else None
    before = AreaState(area.state)
    tick = decide(before, sample, config_of(area), now, trouble)
    allowance, _ = Allowance.objects.select_for_update(no_key=True).get_or_create(
        area=area, defaults={"valid_until": now}
    )
    allowance.remaining = tick.minted
    # Whoever spends looks at the database's clock: this one may run ahead of it.
    allowance.valid_until = Least(Value(tick.valid_until), Now() + Value(tick.valid_until - now))
    allowance.minted_total += tick.minted
    allowance.save(update_fields=["remaining", "valid_until", "minted_total"])
    area.state, area.reason = tick.state, tick.reason
    area.save(update_fields=["state", "reason"])
    CapacityDecision.objects.create(
        area=area,
        at=now,
        state=tick.state,
        previous_state=before,
        reason=tick.reason,
        would_change=tick.would_change,
        minted=tick.minted,
        inputs={
            "sample": newest
            and {
                "id": newest.pk,
                "sampled_at": newest.sampled_at.isoformat(),
                "concurrent_calls": newest.concurrent_calls,
                "attempts": newest.attempts,
                "edges": newest.edges,
            },
            "trouble": trouble,
            "capacity_calls": area.capacity_calls,
            "hold_above_ppm": area.hold_above_ppm,
            "resume_below_ppm": area.resume_below_ppm,
            "activations_per_minute": area.activations_per_minute,
            "tick_seconds": area.tick_seconds,
            "stale_seconds": area.stale_seconds,
        },
    )
    if tick.state is not before:
        record(
            headline(tick.state),
            subject=f"area:{area.key} {area.name}",
            actor=CONTROLLER,
            now=now,
            reason=tick.reason,
            detail={"before": before, "after": tick.state},
        )
        log.info("area.changed", area=area.key, before=before.value, after=tick.state.value, reason=tick.reason)
    return tick
