"""What beat asks of the audit trail."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from controlplane.audit.seal import seal, sign_head


@shared_task(name="audit.seal", ignore_result=True)
def seal_entries() -> None:
    seal(timezone.now())


@shared_task(name="audit.sign_head", ignore_result=True)
def sign_the_head() -> None:
    sign_head(timezone.now())
