"""Forgetting on time: what each kind of row is kept for, and its deletion in batches that hold no lock for long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Model

from calls.models import CallRecord
from controlplane.accounts.models import LimitUse, OneTimeCode, RefreshToken
from controlplane.outbox.models import KEPT as EFFECTS_KEPT
from controlplane.outbox.models import Outbox
from controlplane.rest.actions import KEPT as ANSWERS_KEPT
from controlplane.rest.models import StoredAnswer
from rollout.models import CallEvidence, CapacityDecision, Measurement, Refusal

BATCH = 2_000
BATCHES = 500  # of one kind in one run; what is left waits for the next


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of `model` are kept for so long after the time in `column`; a row without that time stays."""

    model: type[Model]
    column: str
    time: timedelta


def kept() -> list[Kept]:
    """Everything that is forgotten. Grants, reservations, the audit and people are not: they are the record."""
    env, day = settings.ENV, timedelta(days=1)
    return [
        Kept(CallRecord, "created_at", env.record_days * day),
        Kept(CallEvidence, "at", env.record_days * day),
        Kept(Refusal, "at", env.refusal_days * day),
        Kept(Measurement, "sampled_at", env.measurement_days * day),
        Kept(CapacityDecision, "at", env.measurement_days * day),
        Kept(StoredAnswer, "created_at", ANSWERS_KEPT),
        Kept(Outbox, "delivered_at", EFFECTS_KEPT),
        Kept(OneTimeCode, "expires_at", day),
        Kept(RefreshToken, "expires_at", timedelta()),
        Kept(LimitUse, "started_at", 2 * day),
        Kept(Session, "expire_date", timedelta()),
    ]


def forget_old(now: datetime) -> dict[str, int]:
    """Deletes what has been kept long enough. Returns how many rows of each kind, where there were any."""
    found = {each.model.__name__: _forget(each, now) for each in kept()}
    return {name: count for name, count in found.items() if count}


def _forget(kind: Kept, now: datetime) -> int:
    rows = kind.model._default_manager
    gone = 0
    for _ in range(BATCHES):
        old = rows.filter(**{f"{kind.column}__lt": now - kind.time}).values_list("pk", flat=True)[:BATCH]
        deleted = rows.filter(pk__in=list(old)).delete()[0]
        gone += deleted
        if deleted < BATCH:
            break
    return gone
