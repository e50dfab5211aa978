"""Effects that must happen: asked for in one transaction, delivered in another, to each handler of their kind.

settings.OUTBOX_HANDLERS names the handlers of each kind; a kind without any waits and is counted.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from celery import current_app
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.utils.module_loading import import_string

from controlplane.base.breaker import Breaker
from controlplane.outbox.models import Outbox
from controlplane.outbox.rules.backoff import delay

log = structlog.get_logger(__name__)

DELIVER = "outbox.deliver"
SWEEP = 0x6F757462  # "outb": the advisory lock of who sweeps
BATCH = 200
MOST_AT_ONCE = 2_000
PATIENCE = 0.3  # seconds that the worker's other work waits for handlers
NUDGE_PAUSE = 5.0  # seconds without nudging after the broker was away; the sweeper delivers meanwhile

_broker = Breaker(rest=NUDGE_PAUSE)

_threads: dict[str, threading.Thread] = {}


@dataclass(frozen=True, slots=True)
class Effect:
    """What a handler gets: it may come more than once, always with the same key."""

    kind: str
    key: str
    payload: Mapping[str, Any]


class Handler(Protocol):
    def __call__(self, effects: Sequence[Effect], *, now: datetime) -> None: ...


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
    if not _broker.allows():
        return
    try:
        current_app.send_task(DELIVER, queue="ticks", ignore_result=True, retry=False, expires=2)
    except Exception as error:
        _broker.failed()
        log.warning("outbox.nudge_failed", error=type(error).__name__)
    else:
        _broker.succeeded()


def deliver_due(now: datetime) -> int:
    """Delivers what is due to every handler, oldest first. Returns how many deliveries were made."""
    return sum(deliver_to(name, now) for name in sorted(_kinds()))


def deliver_side_by_side(now: datetime, *, patience: float = PATIENCE) -> None:
    """The same in a thread for each handler that has something to do, so that a slow one delays no other.

    Returns once all are done, or after `patience` seconds: whoever takes longer goes on, and isn't started twice.
    """
    due = set(Outbox.objects.due(now).values_list("kind", flat=True).order_by().distinct())
    for name in sorted(name for name, kinds in _kinds().items() if due & set(kinds)):
        if not (thread := _threads.get(name)) or not thread.is_alive():
            thread = _threads[name] = threading.Thread(target=_deliver_alone, args=(name, now), name=name, daemon=True)
            thread.start()
    until = time.monotonic() + patience
    for thread in _threads.values():
        thread.join(max(0.0, until - time.monotonic()))


def deliver_to(name: str, now: datetime) -> int:
    """Delivers to one handler, in batches. Returns how many effects it took.

    One process delivers to a handler at a time, so that effects keep their order; another one returns 0 at once. When a
    batch fails, its effects are tried one by one, and one that fails is tried again later.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [SWEEP, name])
        if not cursor.fetchone()[0]:
            return 0
    try:
        taken = met = 0
        while met < MOST_AT_ONCE:
            rows, delivered = _deliver_batch(name, now)
            taken, met = taken + delivered, met + rows
            if rows < BATCH:
                break
        return taken
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [SWEEP, name])


def _kinds() -> dict[str, list[str]]:
    """The kinds of each handler, by the handler's name."""
    found: dict[str, list[str]] = {}
    for kind, names in settings.OUTBOX_HANDLERS.items():
        for name in names:
            found.setdefault(name, []).append(kind)
    return found


def _deliver_alone(name: str, now: datetime) -> None:
    try:
        deliver_to(name, now)
    except Exception:
        log.exception("outbox.delivery_stopped", handler=name)
    finally:
        connection.close()


@transaction.atomic
def _deliver_batch(name: str, now: datetime) -> tuple[int, int]:
    """How many effects were due, and how many of them were delivered. What a handler writes commits with the mark."""
    rows = list(Outbox.objects.due(now).waiting_for(name, _kinds()[name], now)[:BATCH])
    if not rows:
        return 0, 0
    done = rows
    if error := _hand_over(name, rows, now):
        done = []
        for row in rows:
            if len(rows) > 1:
                error = _hand_over(name, [row], now)
            if error:
                _postpone(row, name, error, now)
            else:
                done.append(row)
    _mark(name, [row.pk for row in done], now)
    return len(rows), len(done)


def _hand_over(name: str, rows: Sequence[Outbox], now: datetime) -> Exception | None:
    try:
        with transaction.atomic():
            handler: Handler = import_string(name)
            handler([Effect(row.kind, row.key, row.payload) for row in rows], now=now)
    except Exception as error:
        return error
    return None


def _mark(name: str, ids: list[int], now: datetime) -> None:
    """The handler has taken these; those that every handler of their kind has taken are delivered."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_outbox o SET done = array_append(o.done, %(name)s), delivered_at = CASE WHEN"
            " array_append(o.done, %(name)s) @> ARRAY(SELECT jsonb_array_elements_text(%(handlers)s::jsonb -> o.kind))"
            " THEN %(now)s::timestamptz END FROM (SELECT id FROM outbox_outbox WHERE id = ANY (%(ids)s) ORDER BY id"
            " FOR NO KEY UPDATE) mine WHERE o.id = mine.id",
            {"name": name, "handlers": json.dumps(settings.OUTBOX_HANDLERS), "now": now, "ids": ids},
        )


def _postpone(row: Outbox, name: str, error: Exception, now: datetime) -> None:
    attempts, words = row.attempts + 1, f"{type(error).__name__}: {error}"[:1000]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_outbox SET attempts = attempts + 1, last_error = %s,"
            " retry_at = retry_at || jsonb_build_object(%s::text, %s::float8) WHERE id = %s",
            [words, name, (now + delay(attempts)).timestamp(), row.pk],
        )
    log.warning("outbox.delivery_failed", key=row.key, handler=name, attempts=attempts, error=words)
