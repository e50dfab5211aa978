"""What beat asks of the accounts."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from controlplane.accounts.actions.limits import purge_uses
from controlplane.accounts.actions.registration import purge_codes
from controlplane.accounts.actions.tokens import purge_tokens


@shared_task(name="accounts.purge", ignore_result=True)
def purge() -> None:
    """Forgets codes, counts and refresh tokens that are over."""
    now = timezone.now()
    purge_codes(now=now)
    purge_uses(now=now)
    purge_tokens(now=now)
