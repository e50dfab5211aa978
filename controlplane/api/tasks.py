"""What beat asks of the operators' REST."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from controlplane.api.actions import forget_old


@shared_task(name="api.purge", ignore_result=True)
def purge() -> None:
    forget_old(timezone.now())
