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
from calls.rules.grant_event import grant_event, grant_key
from controlplane.accounts.models import Device
from rollout.models import Ruleset
from rollout.questions.visibility import is_visible
from rollout.serving.feed import by_person

PATIENCE = 1.0  # seconds; the outbox tries again later


@cache
def _store() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
    )


def tell(tells: Iterable[Tell], *, now: datetime) -> None:
    """Append events to inboxes and ring the edges that hold the sockets. Raises redis.RedisError when Redis is away."""
    events = [event_json(event, settings.KEYS.inbox) for event in tells]
    if events:
        append = _store().register_script(lua("append"))
        append(keys=[], args=[orjson.dumps({"tell": events}), int(now.timestamp() * 1000)])


def tell_grants(payloads: Iterable[Mapping[str, Any]], *, now: datetime) -> None:
    """Every device of the people learns of their grants; one that an edge has told already is not told twice.

    Of a feature that phones may not know of, nobody is told.
    """
    grants = [grant for payload in payloads for grant in by_person(payload)]
    shown = {feature: is_visible(feature) for feature in {str(grant["feature"]) for grant in grants}}
    grants = [grant for grant in grants if shown[str(grant["feature"])]]
    devices = _devices(grants)
    tell(
        (
            Tell(
                device,
                "grant",
                grant_event(str(grant["feature"]), grant["grant"], str(grant["source"])),
                key=grant_key(grant["grant"]),
            )
            for grant in grants
            for device in devices.get(str(grant["subscriber"]), ())
        ),
        now=now,
    )


def tell_changes(payloads: Mapping[str, Mapping[str, Any]], *, now: datetime) -> None:
    """Every device of the people, by the effect's key, asks for its features again, since a grant of theirs changed."""
    newest = Ruleset.objects.values_list("version", flat=True).first() or 0
    devices = _devices(payloads.values())
    tell(
        (
            Tell(device, "features", {"version": newest}, key=key)
            for key, payload in payloads.items()
            for device in devices.get(str(payload["subscriber"]), ())
        ),
        now=now,
    )


def _devices(payloads: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The live devices of each subscriber that is named."""
    found: dict[str, list[str]] = {}
    people = {payload["subscriber"] for payload in payloads}
    for person, device in Device.objects.live().filter(subscriber_id__in=people).values_list("subscriber_id", "id"):
        found.setdefault(str(person), []).append(str(device))
    return found
