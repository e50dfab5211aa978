"""Plain builders of rows: each makes one sound thing, and takes by name whatever a test is about."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from django.conf import settings
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from controlplane.accounts.models import ApiKey, Device, Subscriber

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)

_numbers = itertools.count(2000)


def phone_number() -> str:
    """A number of a range that is kept for films: it belongs to nobody. Each call gives another one."""
    return f"+49309018{next(_numbers):04d}"


def subscriber(*, phone: str | None = None, **fields: Any) -> Subscriber:
    number = phone or phone_number()
    values = {"country": "DE", "joined_at": NOON, **fields}
    return Subscriber.objects.create(
        phone_hash=settings.KEYS.phone_hash(number), phone_sealed=settings.KEYS.seal_phone(number), **values
    )


def device(owner: Subscriber, *, id: UUID | None = None, **fields: Any) -> Device:
    """A device with real public keys (their private halves are thrown away, unless the test brings its own keys)."""
    values = {
        "platform": "android",
        "app_version": "2.11.500",
        "os_version": "4.4.2",
        "label": "Phone",
        "ed25519": bytes(SigningKey.generate().verify_key),
        "x25519": bytes(PrivateKey.generate().public_key),
        **fields,
    }
    return Device.objects.create(id=id or uuid4(), subscriber=owner, **values)


def api_key(*scopes: str, name: str = "a backend", **fields: Any) -> tuple[str, ApiKey]:
    """The key in clear, as its owner sends it, and its row. Without scopes it may do everything."""
    key = "rk_" + secrets.token_urlsafe(32)
    values = {"created_by": "tests", "created_at": NOON, **fields}
    row = ApiKey.objects.create(
        name=name,
        prefix=key[:8],
        digest=hashlib.sha256(key.encode()).digest(),
        scopes=list(scopes) or ["evaluate", "read", "operate", "audit"],
        **values,
    )
    return key, row


class KeptCodes:
    """A sender of one-time codes for tests: it keeps them."""

    sent: ClassVar[list[tuple[str, str]]] = []

    def send(self, e164: str, code: str) -> None:
        self.sent.append((e164, code))
