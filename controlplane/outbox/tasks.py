"""What beat and the actions ask of the outbox."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from controlplane.outbox.actions import DELIVER, deliver_side_by_side


@shared_task(name=DELIVER, ignore_result=True)
def deliver() -> None:
    deliver_side_by_side(timezone.now())
