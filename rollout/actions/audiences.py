"""The verbs of an audience. Each locks, applies, audits and publishes, or refuses and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from controlplane.audit.record import Actor, record
from rollout.actions.rulesets import publish
from rollout.errors import AudienceExists, AudienceInUse, AudienceInvalid, AudienceUnknown, ChangedMeanwhile
from rollout.models import Audience
from rollout.questions.audiences import uses, validate_audience

CHANGEABLE = frozenset({"name", "any_of"})


@transaction.atomic
def create_audience(
    key: str, *, any_of: Any, name: str = "", actor: Actor, now: datetime, reason: str = ""
) -> Audience:
    """A new audience. Raises `AudienceExists`, and `AudienceInvalid` with the path of what can't be used."""
    audience = Audience(key=key, name=name or key, any_of=any_of)
    validate_audience(audience)
    if Audience.objects.filter(key=key).exists():
        raise AudienceExists(key)
    try:
        with transaction.atomic():
            audience.save(force_insert=True)
    except IntegrityError as error:
        raise AudienceExists(key) from error
    detail = {"name": audience.name, "any_of": any_of}
    record("audience.created", subject=f"audience:{key}", actor=actor, now=now, reason=reason, detail=detail)
    publish(actor, now, f"Created the audience {key}")
    return audience


@transaction.atomic
def change_audience(
    key: str,
    *,
    changes: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    reason: str = "",
    revision: int | None = None,
) -> Audience:
    """Changes name or clauses; every feature that uses it decides anew. With `revision`, only if nobody changed it
    since (`ChangedMeanwhile`). What would change nothing writes nothing.
    """
    audience = locked(key)
    if revision is not None and audience.revision != revision:
        raise ChangedMeanwhile("audience", audience.revision)
    if strange := sorted(set(changes) - CHANGEABLE):
        raise AudienceInvalid(str(strange[0])[:64], f"can't be set; known are {', '.join(sorted(CHANGEABLE))}.")
    changed = {
        name: {"from": getattr(audience, name), "to": value}
        for name, value in changes.items()
        if getattr(audience, name) != value
    }
    for name, value in changes.items():
        setattr(audience, name, value)
    validate_audience(audience)
    if not changed:
        return audience
    audience.revision += 1
    audience.save()
    record("audience.changed", subject=f"audience:{key}", actor=actor, now=now, reason=reason, detail=changed)
    publish(actor, now, f"Changed the audience {key}")
    return audience


@transaction.atomic
def delete_audience(key: str, *, actor: Actor, now: datetime, reason: str = "", revision: int | None = None) -> None:
    """Raises `AudienceInUse` while a rule, a wave or another audience names it."""
    audience = locked(key)
    if revision is not None and audience.revision != revision:
        raise ChangedMeanwhile("audience", audience.revision)
    if used_by := uses(key):
        raise AudienceInUse(key, used_by)
    detail = {"name": audience.name, "any_of": audience.any_of}
    audience.delete()
    record("audience.deleted", subject=f"audience:{key}", actor=actor, now=now, reason=reason, detail=detail)
    publish(actor, now, f"Deleted the audience {key}")


def locked(key: str) -> Audience:
    """The row, locked until the transaction ends. Raises `AudienceUnknown`."""
    audience = Audience.objects.select_for_update().filter(key=key).first()
    if audience is None:
        raise AudienceUnknown(key)
    return audience
