"""Writing down who decided what, in the transaction of the decision itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from controlplane.audit.models import ActorKind, AuditEntry

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides: an operator, an API key, or an automatic controller, by name."""

    kind: ActorKind
    name: str

    @classmethod
    def operator(cls, username: str) -> Actor:
        return cls(ActorKind.OPERATOR, username)

    @classmethod
    def api_key(cls, name: str) -> Actor:
        return cls(ActorKind.API_KEY, name)

    @classmethod
    def automatic(cls, name: str) -> Actor:
        return cls(ActorKind.AUTOMATIC, name)


def record(
    verb: str,
    *,
    subject: str,
    actor: Actor,
    now: datetime,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Adds one entry; it stands if and only if the caller's transaction commits. The sealer chains it afterwards.

    `detail` may hold times, UUIDs and decimals; they are stored as text.
    """
    plain = json.loads(json.dumps(detail or {}, cls=DjangoJSONEncoder))
    entry = AuditEntry.objects.create(
        at=now,
        actor_kind=actor.kind,
        actor=actor.name[:150],
        verb=verb,
        subject=subject[:200],
        reason=reason,
        detail=plain,
    )
    transaction.on_commit(lambda: log.info("audit.recorded", verb=verb, subject=subject, actor=actor.name))
    return entry
