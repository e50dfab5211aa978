"""Reading access tokens on the web; the edges do the same with PyNaCl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.conf import settings

from controlplane.accounts.actions.tokens import ALGORITHM
from controlplane.accounts.errors import TokenRefused
from controlplane.accounts.models import Device
from controlplane.accounts.rules.access_token import AUDIENCE, ISSUER

LONGEST_TOKEN = 16_384


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a valid token names."""

    subscriber: UUID
    device: UUID


def read_token(token: str) -> Bearer:
    """Whose token this is. Raises TokenRefused unless algorithm, key, signature, issuer, audience, time are right."""
    if len(token) > LONGEST_TOKEN:
        raise TokenRefused
    try:
        if jwt.get_unverified_header(token).get("kid") != settings.KEYS.token_key_id:
            raise TokenRefused
        payload = jwt.decode(
            token,
            _public_key(bytes(settings.KEYS.token_public)),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iat", "sub", "iss", "aud"]},
        )
        return Bearer(subscriber=UUID(payload["sub"]), device=UUID(payload["did"]))
    except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, AttributeError):
        raise TokenRefused from None


def live_device(bearer: Bearer) -> Device:
    """The device behind a token, with its subscriber. Raises TokenRefused once the device was revoked."""
    rows = Device.objects.live().select_related("subscriber")
    device = rows.filter(id=bearer.device, subscriber_id=bearer.subscriber).first()
    if device is None:
        raise TokenRefused
    return device


@lru_cache(maxsize=4)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)
