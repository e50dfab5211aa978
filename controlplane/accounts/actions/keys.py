"""API keys of backends and scripts. The caller publishes a ruleset afterwards: the edges know keys from there."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from controlplane.accounts.models import ApiKey
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, NotFound
from controlplane.base.wording import shown

PREFIX = "rk_"
MADE_BY_A_KEY = timedelta(days=90)
SHOWN = 8  # characters that tell keys apart; the other 38 keep the secret


class Scope(StrEnum):
    """What a key may do. Who may operate may also read, but the audit takes a scope of its own."""

    EVALUATE = "evaluate"
    READ = "read"
    OPERATE = "operate"
    AUDIT = "audit"


# What each scope also allows.
IMPLIED = {scope: {scope} for scope in Scope} | {Scope.OPERATE: {Scope.OPERATE, Scope.READ}}


def held(row: ApiKey) -> set[Scope]:
    """What the key may do."""
    known = {scope.value for scope in Scope}
    return {implied for name in row.scopes if name in known for implied in IMPLIED[Scope(name)]}


def create_key(
    name: str,
    *,
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    expires_at: datetime | None = None,
    reason: str = "",
    maker: ApiKey | None = None,
) -> tuple[str, ApiKey]:
    """The key in clear, which nobody can read again, and its row. Raises BadInput.

    One that another key makes (`maker`) may no more than it, and ends with it at the latest: after 90 days where no
    time is named.
    """
    chosen = sorted(set(scopes))
    known = [scope.value for scope in Scope]
    if not chosen or not set(chosen) <= set(known):
        raise BadInput(f"Choose one or more scopes of {', '.join(known)}.", path="scopes")
    if not name.strip() or len(name) > 100:
        raise BadInput("Give the key a name of 1 to 100 characters, so that people know what it is for.", path="name")
    if expires_at is not None and expires_at <= now:
        raise BadInput("The key would have expired already. Choose a later time, or leave it out.", path="expires_at")
    if maker is not None:
        if beyond := set(chosen) - held(maker):
            raise BadInput(f"A key can't give what it may not do itself: {', '.join(sorted(beyond))}.", path="scopes")
        expires_at = _within(maker, expires_at, now)
    key = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        row = ApiKey.objects.create(
            name=shown(name.strip(), "name"),
            prefix=key[:SHOWN],
            digest=digest(key),
            scopes=chosen,
            created_by=actor.name,
            created_at=now,
            expires_at=expires_at,
            maker=maker,
        )
        detail = {"name": row.name, "scopes": chosen, "expires_at": expires_at}
        record("api_key.created", subject=f"api_key:{row.pk}", actor=actor, now=now, reason=reason, detail=detail)
    return key, row


def _within(maker: ApiKey, expires_at: datetime | None, now: datetime) -> datetime:
    """When a key made by this one expires. Raises BadInput for a time after its maker's."""
    if expires_at is None:
        expires_at = now + MADE_BY_A_KEY
        return min(expires_at, maker.expires_at) if maker.expires_at else expires_at
    if maker.expires_at is not None and expires_at > maker.expires_at:
        latest = maker.expires_at.isoformat()
        raise BadInput(f"A key can't outlive the one that makes it: choose a time until {latest}.", path="expires_at")
    return expires_at


def revoke_key(key_id: int, *, actor: Actor, now: datetime, reason: str = "") -> ApiKey:
    """The key and all that were made by it are refused from now on; one that was revoked before stays as it is.

    Raises NotFound.
    """
    with transaction.atomic():
        row = ApiKey.objects.select_for_update().filter(id=key_id).first()
        if row is None:
            raise NotFound("There is no API key with this id.")
        if row.revoked_at is None:
            row.revoked_at = now
            row.save(update_fields=["revoked_at"])
            detail = {"name": row.name}
            record("api_key.revoked", subject=f"api_key:{row.pk}", actor=actor, now=now, reason=reason, detail=detail)
            for made in row.made.filter(revoked_at__isnull=True):
                revoke_key(made.pk, actor=actor, now=now, reason=f"It was made by {row}, which was revoked.")
    return row


def digest(key: str) -> bytes:
    """SHA-256: enough for 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


def live_key(key: str, *, now: datetime) -> ApiKey | None:
    """The row of a key that was presented, unless it is unknown, revoked or expired."""
    return ApiKey.objects.live(now).filter(digest=digest(key)).first()
