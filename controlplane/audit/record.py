"""Writing down who decided what, in the transaction of the decision itself."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from controlplane.audit.models import ActorKind, AuditEntry, Channel
from controlplane.audit.rules.verbs import NEEDED, Right, right_for
from controlplane.base.refusal import NotAllowed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who decides, through which channel, and what they may: an operator, an API key, or an automatic controller."""

    kind: ActorKind
    name: str
    channel: Channel
    rights: frozenset[Right]

    @classmethod
    def operator(cls, username: str, rights: Iterable[Right], channel: Channel = Channel.CONSOLE) -> Actor:
        return cls(ActorKind.OPERATOR, username, channel, frozenset(rights))

    @classmethod
    def command_line(cls) -> Actor:
        """Whoever runs `manage.py`: they hold the master secret, and may everything."""
        return cls.operator(getpass.getuser(), Right, Channel.COMMAND_LINE)

    @classmethod
    def api_key(cls, name: str, rights: Iterable[Right]) -> Actor:
        return cls(ActorKind.API_KEY, name, Channel.REST, frozenset(rights))

    @classmethod
    def automatic(cls, name: str) -> Actor:
        return cls(ActorKind.AUTOMATIC, name, Channel.AUTOMATIC, frozenset(Right))

    def require(self, right: Right | None) -> None:
        """Raises `NotAllowed` with what is missing."""
        if right is not None and right not in self.rights:
            raise NotAllowed(f"{self.name} may not do this: it takes {NEEDED[right]}.")


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

    Raises `NotAllowed` when the actor lacks the right that the verb takes, which ends that transaction: so no action is
    taken by somebody who may not. `detail` may hold times, UUIDs and decimals; they are stored as text.
    """
    actor.require(right_for(verb))
    plain = json.loads(json.dumps(detail or {}, cls=DjangoJSONEncoder))
    entry = AuditEntry.objects.create(
        at=now,
        actor_kind=actor.kind,
        actor=actor.name[:150],
        channel=actor.channel,
        verb=verb,
        subject=subject[:200],
        reason=reason,
        detail=plain,
    )
    transaction.on_commit(lambda: log.info("audit.recorded", verb=verb, subject=subject, actor=actor.name))
    return entry
