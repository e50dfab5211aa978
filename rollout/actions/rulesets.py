"""Publishing: all features, audiences, areas and API keys become one signed, numbered ruleset."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import orjson
import re2
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from controlplane.audit.record import Actor
from rollout.actions.doorbell import RULESET, ring_on_commit
from rollout.errors import RulesetInvalid
from rollout.models import Feature, Ruleset
from rollout.questions.rulesets import build, milliseconds
from rollout.serving.ruleset import LARGEST, BadRuleset, canonical, load, sign

log = structlog.get_logger(__name__)

PUBLISHING = 0x72756C65  # "rule": the advisory lock under which rulesets are numbered
COMPILE_SECONDS_PER_100 = 0.1


def publish(actor: Actor, now: datetime, note: str = "") -> Ruleset:
    """A new ruleset from what the current transaction sees; every process learns of it once that commits.

    Call it last in an action: it takes the publishing lock, held until the commit, and only then reads, so that of two
    changes at once neither is left out. Raises `RulesetInvalid` when it would not load, which undoes the whole action.
    When nothing that decides has changed, the last ruleset stays and is returned.
    """
    with transaction.atomic():
        _lock()
        document = build(now)
        latest = Ruleset.objects.order_by("-version").first()
        if latest is not None and _same(latest, document):
            return latest
        return _store(document, actor, now, note)


def publish_narrowing(feature: Feature, actor: Actor, now: datetime, note: str = "") -> Ruleset:
    """Like `publish`, for a feature that was killed or switched off: that must work whatever else is broken.

    When the whole can't be published, the last good ruleset is, with this feature's switch as it is now.
    """
    try:
        return publish(actor, now, note)
    except RulesetInvalid as error:
        with transaction.atomic():
            _lock()
            latest = Ruleset.objects.order_by("-version").first()
            document = orjson.loads(bytes(latest.body)) if latest else {}
            if feature.key not in document.get("features", {}):
                raise
            log.error("ruleset.narrowed_only", feature=feature.key, why=str(error))
            stop = milliseconds(feature.stop_calls_before) if feature.stop_calls_before else None
            document["features"][feature.key] |= {"switch": str(feature.switch), "stop_calls_before": stop}
            document["published_at"] = milliseconds(now)
            return _store(document, actor, now, note)


def _lock() -> None:
    """Held until the transaction ends: who publishes next reads what this one committed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PUBLISHING])


def _store(document: dict[str, Any], actor: Actor, now: datetime, note: str) -> Ruleset:
    document["version"] = (Ruleset.objects.aggregate(top=Max("version"))["top"] or 0) + 1
    body = canonical(document)
    signature = sign(body, settings.KEYS.ruleset)
    check(body, signature, features=len(document["features"]))
    row = Ruleset.objects.create(
        version=document["version"],
        body=body,
        signature=signature,
        key_id=settings.KEYS.ruleset_key_id,
        published_at=now,
        published_by=actor.name[:150],
        note=note[:200],
    )
    ring_on_commit(RULESET, str(row.version))
    return row


def _same(latest: Ruleset, document: dict[str, Any]) -> bool:
    """Whether the last ruleset says the same, number and time aside."""
    candidate = document | {"version": latest.version, "published_at": milliseconds(latest.published_at)}
    return canonical(candidate) == bytes(latest.body)


def _load_seconds(body: bytes, signature: bytes) -> float:
    """Processor time. Raises `RulesetInvalid`."""
    re2.purge()  # its own cache would hide what every other process has to compile
    began = time.thread_time()
    try:
        load(body, signature, settings.KEYS.ruleset.verify_key)
    except BadRuleset as error:
        raise RulesetInvalid(str(error), error.path) from error
    return time.thread_time() - began


def check(body: bytes, signature: bytes, *, features: int) -> None:
    """What every process will do with it, done once before it is stored. Raises `RulesetInvalid`."""
    if len(body) > LARGEST:
        raise RulesetInvalid(f"The ruleset would have {len(body)} bytes; at most {LARGEST} are allowed.")
    allowed = COMPILE_SECONDS_PER_100 * max(1.0, features / 100)
    took = _load_seconds(body, signature)
    if took > allowed:  # the first one of a process pays for what every later one finds ready: that one counts
        took = min(took, _load_seconds(body, signature))
    if took > allowed:
        raise RulesetInvalid(
            f"The ruleset takes {took * 1000:.0f} ms to compile; {allowed * 1000:.0f} ms are allowed. "
            "Shorten the longest lists of values and patterns."
        )
