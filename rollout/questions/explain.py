"""Explaining: what a person gets of a feature, every step that led there, and what stands around it. For operators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import phonenumbers
from django.conf import settings

from controlplane.accounts.models import Subscriber
from rollout.models import Feature, Grant, Refusal, Wave, Window, WindowState
from rollout.questions.evaluate import current, find_person
from rollout.rules.decision.decision import decide
from rollout.rules.decision.words import say
from rollout.rules.definition.bucket import bucket

LAST = 5


def find_subscriber(who: str) -> Subscriber | None:
    """A subscriber by id or by phone number (+49…, spaces allowed); None when there is none."""
    try:
        return Subscriber.objects.filter(id=UUID(who.strip())).first()
    except ValueError:
        pass
    try:
        number = phonenumbers.parse(who, None)
    except phonenumbers.NumberParseException:
        return None
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Subscriber.objects.filter(phone_hash=settings.KEYS.phone_hash(e164)).first()


def explain(
    subscriber: Subscriber, feature_key: str, *, now: datetime, callee: Subscriber | None = None
) -> dict[str, Any]:
    """The decision with its trace, the grant, the plan, the windows and the last refused invites, ready for JSON.

    With `callee`, the refusals are those of calls to that person, with the exact cause that the caller was not told.
    """
    ruleset = current()
    person = find_person(subscriber.id)
    assert person is not None, "its row was read just now"
    party = person.party()
    decision = decide(ruleset, feature_key, party, now, trace=True)
    feature = Feature.objects.filter(key=feature_key).first()
    return {
        "subscriber": {"id": str(subscriber.id), "name": subscriber.name, "accepts_invites": person.accepts_invites},
        "feature": feature_key,
        "ruleset": ruleset.version,
        "at": now.isoformat(),
        "decision": {
            "enabled": decision.enabled,
            "value": decision.value,
            "variant": decision.variant,
            "reason": str(decision.reason),
            "cause": str(decision.cause),
            "words": say(decision),
            "detail": dict(decision.detail),
        },
        "trace": [{"step": s.step, "decided": s.decided, "seen": dict(s.seen)} for s in decision.trace],
        "traits": dict(party.traits),
        "bucket": bucket(feature.salt, str(subscriber.id)) if feature else None,
        "grant": _grant(feature, subscriber),
        "waves": [_wave(wave) for wave in Wave.objects.filter(feature=feature)] if feature else [],
        "windows": [_window(window) for window in _windows(feature)] if feature else [],
        "refusals": _refusals(feature, subscriber, callee) if feature else [],
    }


def _grant(feature: Feature | None, subscriber: Subscriber) -> dict[str, Any] | None:
    grants = Grant.objects.filter(feature=feature, subscriber=subscriber).select_related("wave", "window", "parent")
    grant = grants.order_by("-id").first() if feature else None
    if grant is None:
        return None
    return {
        "id": grant.id,
        "state": grant.state,
        "source": grant.source,
        "depth": grant.depth,
        "granted_at": grant.granted_at.isoformat(),
        "wave": grant.wave.name if grant.wave else None,
        "window": grant.window.name if grant.window else None,
        "inviter": str(grant.parent.subscriber_id) if grant.parent and grant.parent.subscriber_id else None,
        "granted_by": grant.granted_by or None,
    }


def _wave(wave: Wave) -> dict[str, Any]:
    return {
        "name": wave.name,
        "position": wave.position,
        "state": wave.state,
        "share_ppm": wave.share_ppm,
        "admitted": wave.admitted,
        "held_by": wave.held_by or None,
        "standstill": wave.standstill or None,
    }


def _windows(feature: Feature) -> list[Window]:
    windows = Window.objects.filter(feature=feature).exclude(state=WindowState.SCHEDULED)
    return list(windows.order_by("-id")[:LAST])


def _window(window: Window) -> dict[str, Any]:
    return {
        "id": window.pk,
        "name": window.name,
        "state": window.state,
        "used": window.used,
        "pending": window.pending,
        "places": window.places,
        "closed_at": window.closed_at.isoformat() if window.closed_at else None,
    }


def _refusals(feature: Feature, caller: Subscriber, callee: Subscriber | None) -> list[Mapping[str, Any]]:
    rows = Refusal.objects.filter(feature=feature, inviter=caller.id)
    if callee is not None:
        rows = rows.filter(callee=callee.id)
    return [
        {
            "call": str(row.call),
            "callee": str(row.callee) if row.callee else None,
            "outcome": row.outcome,
            "detail": row.detail,
            "at": row.at.isoformat(),
        }
        for row in rows.order_by("-at", "-id")[:LAST]
    ]
