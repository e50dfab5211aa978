"""API keys and the edges: a key counts there once a ruleset names it, so both happen in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from controlplane.accounts.actions.keys import create_key, revoke_key
from controlplane.accounts.models import ApiKey
from controlplane.audit.record import Actor
from rollout.actions.rulesets import publish


def issue(
    name: str,
    *,
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    expires_at: datetime | None = None,
    reason: str = "",
    maker: ApiKey | None = None,
) -> tuple[str, ApiKey]:
    """A new key, in clear, and its row; the edges know it as soon as they have the new ruleset."""
    with transaction.atomic():
        key, row = create_key(
            name, scopes=scopes, actor=actor, now=now, expires_at=expires_at, reason=reason, maker=maker
        )
        publish(actor=actor, now=now, note=f"API key {row.prefix}… created")
    return key, row


def withdraw(key_id: int, *, actor: Actor, now: datetime, reason: str = "") -> ApiKey:
    """The key is refused here at once, and on the edges as soon as they have the new ruleset."""
    with transaction.atomic():
        row = revoke_key(key_id, actor=actor, now=now, reason=reason)
        publish(actor=actor, now=now, note=f"API key {row.prefix}… revoked")
    return row
