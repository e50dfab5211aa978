"""Effects that must happen: asked for in one transaction, delivered in another, each once by its key."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils.module_loading import import_string

from controlplane.outbox.models import Outbox
from controlplane.outbox.rules.backoff import delay

log = structlog.get_logger(__name__)

DELIVER = "outbox.deliver"
SWEEP = 0x6F757462  # "outb": the advisory lock of who sweeps
MOST_AT_ONCE = 500
KEPT = timedelta(hours=24)
NUDGE_PAUSE = 5.0  # seconds without nudging after the broker was away; the sweeper delivers meanwhile

_quiet_until = 0.0

Handler = Callable[..., None]


def enqueue(kind: str, *, key: str, payload: Mapping[str, Any], due_at: datetime | None = None) -> bool:
    """Asks for an effect, in the caller's transaction. False when it had been asked for by this key before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO outbox_outbox (kind, key, payload, due_at) VALUES (%s, %s, %s::jsonb, coalesce(%s, now())) "
            "ON CONFLICT (key) DO NOTHING",
            [kind, key, json.dumps(payload, cls=DjangoJSONEncoder), due_at],
        )
        new: bool = cursor.rowcount == 1
        transaction.on_commit(nudge)
    return new


def nudge() -> None:
    """Tells the worker that something may be due. Failing is no harm: the sweeper comes by itself."""
    global _quiet_until
    if time.monotonic() < _quiet_until:
        return
    try:
        current_app.send_task(DELIVER, queue="ticks", ignore_result=True, retry=False, expires=2)
    except Exception as error:
        _quiet_until = time.monotonic() + NUDGE_PAUSE
        log.warning("outbox.nudge_failed", error=type(error).__name__)


def deliver_due(now: datetime) -> int:
    """Delivers what is due, oldest first, each effect in a transaction of its own. Returns how many were delivered.

    One process sweeps at a time, so that effects keep their order; another one returns 0 at once. A kind without a
    handler waits. An effect that fails is tried again later, and doesn't hold up the others.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SWEEP])
        if not cursor.fetchone()[0]:
            return 0
    try:
        outcomes: list[bool] = []
        while len(outcomes) < MOST_AT_ONCE and (outcome := _deliver_next(now)) is not None:
            outcomes.append(outcome)
        return sum(outcomes)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [SWEEP])


def purge(now: datetime) -> int:
    """Forgets effects that were delivered a day ago. Returns how many."""
    return Outbox.objects.filter(delivered_at__lt=now - KEPT).delete()[0]


def _deliver_next(now: datetime) -> bool | None:
    """True for one delivered, False for one that failed, None when nothing more is due."""
    with transaction.atomic():
        due = Outbox.objects.due(now).filter(kind__in=list(settings.OUTBOX_HANDLERS))
        row = due.select_for_update(skip_locked=True).first()
        if row is None:
            return None
        try:
            with transaction.atomic():
                handler: Handler = import_string(settings.OUTBOX_HANDLERS[row.kind])
                handler(row.payload, key=row.key, now=now)
        except Exception as error:
            _postpone(row, error, now)
            return False
        row.delivered_at = now
        row.save(update_fields=["delivered_at"])
    return True


def _postpone(row: Outbox, error: Exception, now: datetime) -> None:
    row.attempts += 1
    row.last_error = f"{type(error).__name__}: {error}"[:1000]
    row.due_at = now + delay(row.attempts)
    row.save(update_fields=["attempts", "last_error", "due_at"])
    log.warning("outbox.delivery_failed", key=row.key, kind=row.kind, attempts=row.attempts, error=row.last_error)
