"""What beat asks of the whole."""

from __future__ import annotations

import structlog
from celery import shared_task
from django.utils import timezone

from controlplane.actions import retention

log = structlog.get_logger(__name__)


@shared_task(name="controlplane.forget_old", ignore_result=True)
def forget_old() -> None:
    if gone := retention.forget_old(timezone.now()):
        log.info("rows.forgotten", **gone)
