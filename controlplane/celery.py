"""Celery: it only nudges. What must happen is an outbox row, so a lost or repeated message does no harm.

Queues: `ticks` (capacity, closes, the outbox: short and prompt) and `bulk` (waves, reports: may take long), each with a
process of its own. The tasks are in the applications' `tasks.py`; settings.CELERY_BEAT_SCHEDULE says when.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import redis
from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

from controlplane.base import logs

QUEUES = ("ticks", "bulk")
HEARTBEAT_KEY = "rc:heartbeat:{queue}"
HEARTBEAT_STALE_SECONDS = 30  # a longer silence is trouble

app = Celery("rollcall")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _configure_logging(**kwargs: Any) -> None:
    logs.configure(os.environ.get("ROLLCALL_PROCESS", "worker"), json=settings.ENV.log_json)


@app.task(name="controlplane.heartbeat", ignore_result=True)
def heartbeat(queue: str) -> None:
    """Leaves a sign that beat sends and this queue's worker takes: doctor, /readyz and /metrics read it."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.set(HEARTBEAT_KEY.format(queue=queue), json.dumps({"at": time.time(), "pid": os.getpid()}), ex=600)
