"""Areas: made and changed by operators. Their state belongs to the capacity controller."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, NotFound
from controlplane.base.wording import shown
from rollout.actions.rulesets import publish
from rollout.errors import AreaExists, ChangedMeanwhile
from rollout.models import Allowance, Area

CHANGEABLE = (
    "name",
    "countries",
    "carriers",
    "capacity_calls",
    "hold_above_ppm",
    "resume_below_ppm",
    "activations_per_minute",
    "tick_seconds",
    "stale_seconds",
)


@transaction.atomic
def create_area(
    key: str,
    *,
    name: str = "",
    countries: Sequence[str] = (),
    carriers: Sequence[str] = (),
    actor: Actor,
    now: datetime,
    reason: str = "",
    **numbers: Any,
) -> Area:
    """A new area, held until its first measurement. `numbers` are its capacity and settings, by the columns' names.

    Raises `AreaExists`, and `BadInput` for a value that can't be.
    """
    if unknown := set(numbers) - set(CHANGEABLE):
        raise BadInput(f"An area has no {', '.join(sorted(unknown))}.", path=min(unknown))
    taken = AreaExists(f"There is an area {key!r} already: change that one, or choose another key.")
    if Area.objects.filter(key=key).exists():
        raise taken
    area = Area(
        key=key, name=name or key, countries=list(countries), carriers=list(carriers), next_tick_at=now, **numbers
    )
    _check(area)
    try:
        with transaction.atomic():
            area.save(force_insert=True)
    except IntegrityError as error:
        raise taken from error
    Allowance.objects.create(area=area, remaining=0, valid_until=now)
    record(
        "area.created", subject=f"area:{key} {area.name}", actor=actor, now=now, reason=reason, detail=_as_detail(area)
    )
    publish(actor, now, f"Created the area {key}")
    return area


@transaction.atomic
def change_area(
    key: str, *, changes: Mapping[str, Any], actor: Actor, now: datetime, reason: str = "", tag: str = ""
) -> Area:
    """Changes settings of an area; its next tick comes at once and judges by them. With `tag` (as `tag_of` gives it),
    only if nobody changed them since. Raises `NotFound`, `BadInput`, `ChangedMeanwhile`.
    """
    area = Area.objects.select_for_update(no_key=True).filter(key=key).first()
    if area is None:
        raise NotFound(f"There is no area {key!r}.")
    if tag and tag != tag_of(area):
        raise ChangedMeanwhile("area")
    if unknown := set(changes) - set(CHANGEABLE):
        raise BadInput(f"An area's {', '.join(sorted(unknown))} can't be changed.", path=min(unknown))
    before = _as_detail(area)
    for field, value in changes.items():
        setattr(area, field, value)
    area.next_tick_at = now
    _check(area)
    area.save(update_fields=[*changes, "next_tick_at"])
    after = _as_detail(area)
    changed = {field: [before[field], after[field]] for field in after if before[field] != after[field]}
    record("area.changed", subject=f"area:{key} {area.name}", actor=actor, now=now, reason=reason, detail=changed)
    publish(actor, now, f"Changed the area {key}")
    return area


def tag_of(area: Area) -> str:
    """16 hexadecimal digits that change with any setting, and with nothing that the controller writes."""
    settings = json.dumps(_as_detail(area), sort_keys=True, default=str)
    return hashlib.sha256(settings.encode()).hexdigest()[:16]


def _check(area: Area) -> None:
    shown(area.name, "name")
    try:
        area.full_clean(validate_unique=False)
    except ValidationError as error:
        for field, messages in error.message_dict.items():
            where = "" if field == "__all__" else field
            raise BadInput(_in_words(messages[0]), path=where) from error
        raise


def _in_words(message: str) -> str:
    """A broken constraint, named after the rule it keeps, as a sentence."""
    rules = {
        "area_has_capacity": "An area carries at least one call.",
        "area_resumes_below_hold": "An area must resume below the load at which it holds.",
        "area_holds_at_most_full": "An area holds at its full capacity at the latest.",
        "area_ticks_at_least_half_second": "A tick takes half a second at least.",
        "area_stale_after_a_tick": "A measurement can't be stale before the next tick: stale_seconds ≥ tick_seconds.",
    }
    return next((words for name, words in rules.items() if name in message), message)


def _as_detail(area: Area) -> dict[str, Any]:
    return {field: getattr(area, field) for field in CHANGEABLE}
