"""What the workers put into phones' inboxes, the same way and with the same keys as an edge does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from calls.edge.store import event_json, lua
from calls.rules.call import Tell
from calls.rules.news import grant_event, grant_key
from controlplane.accounts.models import Device
from rollout.models import Ruleset
from rollout.visibility import is_visible

PATIENCE = 1.0  # seconds; the outbox tries again later


@cache
def _store() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
    )


def tell(tells: Iterable[Tell], *, now: datetime) -> None:
    """Append events to inboxes and ring the edges that hold the sockets. Raises redis.RedisError when Redis is away."""
    events = [event_json(event) for event in tells]
    if events:
        append = _store().register_script(lua("append"))
        append(keys=[], args=[orjson.dumps({"tell": events}), int(now.timestamp() * 1000)])


def tell_grant(payload: Mapping[str, Any], *, now: datetime) -> None:
    """Every device of the person learns of a grant; one that an edge has told already is not told twice.

    Of a feature that phones may not know of, nobody is told.
    """
    if not is_visible(str(payload["feature"])):
        return
    body = grant_event(str(payload["feature"]), payload["grant"], str(payload["source"]))
    devices = Device.objects.live().filter(subscriber_id=payload["subscriber"]).values_list("id", flat=True)
    tell((Tell(str(device), "grant", body, key=grant_key(payload["grant"])) for device in devices), now=now)


def tell_revocation(payload: Mapping[str, Any], *, key: str, now: datetime) -> None:
    """Every device of the person asks for its features again."""
    newest = Ruleset.objects.values_list("version", flat=True).first() or 0
    devices = Device.objects.live().filter(subscriber_id=payload["subscriber"]).values_list("id", flat=True)
    tell((Tell(str(device), "features", {"version": newest}, key=key) for device in devices), now=now)
