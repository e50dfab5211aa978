"""Tokens of phones: short access tokens that carry what their bearer may do, and refresh tokens that rotate."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import transaction

from controlplane.accounts.actions.devices import revoke_device
from controlplane.accounts.errors import RefreshRefused
from controlplane.accounts.models import Device, RefreshToken
from controlplane.accounts.rules import refresh as rule
from controlplane.accounts.rules.access_token import AUDIENCE, ISSUER

log = structlog.get_logger(__name__)

ALGORITHM = "EdDSA"

Claims = Callable[[Device], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Session:
    """What a phone gets when it signs in or refreshes. `expires_in` is the access token's, in seconds."""

    subscriber: UUID
    device: UUID
    expires_in: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


def mint(device: Device, *, claims: Mapping[str, Any], now: datetime) -> str:
    """An access token (EdDSA JWT) for the device's subscriber.

    `claims` holds what other parts know: `tr` (traits), `g` (live grants) and `fr` (features whose grant is frozen).
    Nothing is stored: the token is good until it expires.
    """
    issued = int(now.timestamp())
    payload = {
        **claims,
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(device.subscriber_id),
        "did": str(device.id),
        "iat": issued,
        "exp": issued + settings.ENV.token_seconds,
        "jti": secrets.token_hex(8),
    }
    key = _signing_key(bytes(settings.KEYS.token))
    return jwt.encode(payload, key, algorithm=ALGORITHM, headers={"kid": settings.KEYS.token_key_id})


def start_session(device: Device, *, claims: Claims, now: datetime) -> Session:
    """The first tokens of a sign-in. Call it inside a transaction."""
    token = rule.token_of(secrets.token_bytes(32))
    _store(token, device=device, now=now)
    return _session(device, refresh_token=token, claims=claims, now=now)


def refresh(token: str, *, claims: Claims, now: datetime) -> Session:
    """Spends the refresh token for its successor and a new access token.

    The very last refresh may be retried for 30 s and gets the same refresh token again; a spent token that comes back
    otherwise was stolen or copied, so its device ends. Raises RefreshRefused, the same in every case.
    """
    with transaction.atomic():
        row = _lock(token)
        outcome = _decide(row, token, now)
        following = rule.successor(token, settings.KEYS.refresh)
        if row is not None and outcome is rule.Outcome.ROTATE:
            RefreshToken.objects.filter(id=row.id).update(spent_at=now)
            _store(following, device=row.device, now=now)
            Device.objects.filter(id=row.device_id).update(seen_at=now)
        if row is not None and outcome is rule.Outcome.END_DEVICE:
            revoke_device(row.device_id, now=now)
            log.warning("refresh_token.reused", device=str(row.device_id))
        if row is not None and outcome in {rule.Outcome.ROTATE, rule.Outcome.REPEAT}:
            return _session(row.device, refresh_token=following, claims=claims, now=now)
    raise RefreshRefused  # outside the transaction, so that the device's end stays


def revoke(token: str, *, now: datetime) -> None:
    """Ends the device of this refresh token (signs the phone out). Nothing happens for an unknown one."""
    row = RefreshToken.objects.filter(digest=rule.digest(token)).first()
    if row is not None:
        revoke_device(row.device_id, now=now)


def _lock(token: str) -> RefreshToken | None:
    """The token's row, locked after its device, as whoever ends the device locks it: no successor slips past that."""
    named = RefreshToken.objects.filter(digest=rule.digest(token))
    device = Device.objects.select_for_update(no_key=True).filter(id__in=named.values("device"))
    if device.first() is None:
        return None
    return named.select_for_update(of=("self",)).select_related("device__subscriber").first()


def _decide(row: RefreshToken | None, token: str, now: datetime) -> rule.Outcome:
    if row is None:
        return rule.Outcome.REFUSE
    following = RefreshToken.objects.filter(digest=rule.digest(rule.successor(token, settings.KEYS.refresh))).first()
    spending = rule.Spending(
        expires_at=row.expires_at,
        spent_at=row.spent_at,
        successor_spent=following is not None and following.spent_at is not None,
    )
    return rule.decide(spending, now)


def _store(token: str, *, device: Device, now: datetime) -> None:
    RefreshToken.objects.create(
        device=device,
        digest=rule.digest(token),
        issued_at=now,
        expires_at=now + rule.IDLE_LIFETIME,
    )


def _session(device: Device, *, refresh_token: str, claims: Claims, now: datetime) -> Session:
    return Session(
        subscriber=device.subscriber_id,
        device=device.id,
        expires_in=settings.ENV.token_seconds,
        access_token=mint(device, claims=claims(device), now=now),
        refresh_token=refresh_token,
    )


@lru_cache(maxsize=4)
def _signing_key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)
