"""What machines ask the web process: does it live, is it ready, how does it do."""

from __future__ import annotations

import json
import time

import redis
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, ProcessCollector, generate_latest

from controlplane.celery import HEARTBEAT_KEY, QUEUES
from controlplane.outbox.models import Outbox

_migrated = False  # once true, true for the life of the process


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when requests can be served: PostgreSQL answers and is migrated. Redis may be away; then it says so."""
    trouble = database_trouble()
    body = {"ready": trouble is None, "trouble": trouble, "without": [] if redis_answers() else ["redis"]}
    if trouble is None:
        return JsonResponse(body)
    return JsonResponse(body, status=503, headers={"Retry-After": "2"})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format: this process, the outbox, and the age of the workers' signs of life."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    up = Gauge("rollcall_store_up", "1 when the store answers", ["store"], registry=registry)
    up.labels("redis").set(redis_answers())
    waiting = Gauge("rollcall_outbox_waiting", "Effects that are not delivered yet", ["kind"], registry=registry)
    failing = Gauge("rollcall_outbox_failing", "Effects that were tried in vain", registry=registry)
    ages = Gauge(
        "rollcall_heartbeat_age_seconds", "Since beat's last task reached a worker", ["queue"], registry=registry
    )
    try:
        for kind, count in Outbox.objects.waiting_by_kind().items():
            waiting.labels(kind).set(count)
        failing.set(Outbox.objects.failing().count())
        up.labels("postgresql").set(1)
    except Error:
        up.labels("postgresql").set(0)
    for queue, age in heartbeat_ages().items():
        ages.labels(queue).set(float("inf") if age is None else age)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def database_trouble() -> str | None:
    """Why PostgreSQL can't be used yet, as a sentence; None when it can."""
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                return "The database isn't migrated: run 'manage.py migrate'."
            _migrated = True
    except Error:
        connection.close()
        return "PostgreSQL doesn't answer: 'manage.py doctor' says more."
    return None


def redis_answers() -> bool:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.3, socket_connect_timeout=0.3) as client:
            return bool(client.ping())
    except (redis.exceptions.RedisError, OSError):
        return False


def heartbeat_ages() -> dict[str, float | None]:
    """Seconds since each queue's worker last took beat's sign of life; None where there is no sign."""
    ages: dict[str, float | None] = dict.fromkeys(QUEUES)
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            for queue in QUEUES:
                found = client.get(HEARTBEAT_KEY.format(queue=queue))
                if isinstance(found, bytes):
                    ages[queue] = max(0.0, time.time() - float(json.loads(found)["at"]))
    except (redis.exceptions.RedisError, OSError, ValueError, KeyError):
        pass
    return ages
