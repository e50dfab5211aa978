"""Publishing after a narrowing that is committed already."""

from __future__ import annotations

from datetime import datetime

import structlog

from controlplane.audit.record import Actor
from rollout.actions.rulesets import publish

log = structlog.get_logger(__name__)


def publish_afterwards(actor: Actor, *, now: datetime, note: str) -> bool:
    """Publishes in a transaction of its own, and never raises: a ruleset that can't be published must not keep a window
    open or a wave running. False when it failed; then phones' words lag until the next publishing.
    """
    try:
        publish(actor, now, note)
    except Exception:
        log.exception("ruleset.publish_failed", note=note)
        return False
    return True
