"""The ruleset that would be published now, and the history of those that were: documents, and what differs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from django.db.models import QuerySet
from django.db.models.functions import Length

from controlplane.accounts.models import ApiKey
from rollout.errors import RulesetUnknown
from rollout.models import Area, Audience, Feature, Ruleset, Window
from rollout.rules.ruleset.difference import Change, differences
from rollout.rules.ruleset.document import FORMAT, LEAST_READER


def history() -> QuerySet[Ruleset]:
    """Every ruleset with its `size` in bytes, without the bytes themselves: those may be megabytes each."""
    return Ruleset.objects.defer("body", "signature").annotate(size=Length("body"))


def ruleset_row(version: int) -> Ruleset:
    """Raises `RulesetUnknown`."""
    row = Ruleset.objects.annotate(size=Length("body")).filter(version=version).first()
    if row is None:
        raise RulesetUnknown(version)
    return row


def document_of(version: int) -> dict[str, Any]:
    """The whole published document; version 0 is the empty one that stands before all others."""
    if version == 0:
        return {"version": 0, "features": {}, "audiences": {}, "areas": {}, "api_keys": {}}
    return dict(orjson.loads(bytes(ruleset_row(version).body)))


def compared(a: int, b: int) -> list[Change]:
    """What changed from version a to version b. Raises `RulesetUnknown`."""
    return differences(document_of(a), document_of(b))


def build(now: datetime) -> dict[str, Any]:
    """The ruleset's document as the database stands, with version 0: publishing numbers it."""
    inviting = set(Window.objects.inviting(now).values_list("feature_id", flat=True))
    features = Feature.objects.prefetch_related("waves").order_by("key")
    return {
        "format": FORMAT,
        "least_reader": LEAST_READER,
        "version": 0,
        "published_at": milliseconds(now),
        "features": {f.key: feature_document(f, windows_open=f.id in inviting) for f in features},
        "audiences": {a.key: a.any_of for a in Audience.objects.order_by("key")},
        "api_keys": {
            bytes(key.digest).hex(): {
                "id": str(key.pk),
                "name": key.name,
                "scopes": list(key.scopes),
                "expires_at": milliseconds(key.expires_at) if key.expires_at else None,
            }
            for key in ApiKey.objects.live(now).order_by("id")
        },
        "areas": {
            a.key: {"countries": list(a.countries), "carriers": list(a.carriers)} for a in Area.objects.order_by("key")
        },
    }


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def feature_document(feature: Feature, *, windows_open: bool) -> dict[str, Any]:
    """One feature as the ruleset carries it; `rollout/rules/definition/feature.py` reads it."""
    return {
        "key": feature.key,
        "kind": str(feature.kind),
        "salt": feature.salt,
        "switch": str(feature.switch),
        "access": str(feature.access),
        "variants": feature.variants,
        "default": feature.default_variant,
        "off": feature.off_variant,
        "requirements": feature.requirements,
        "prerequisites": list(feature.prerequisites),
        "rules": feature.rules,
        "visible_to_phones": feature.visible_to_phones,
        "stop_calls_before": milliseconds(feature.stop_calls_before) if feature.stop_calls_before else None,
        "windows_open": windows_open,
        "waves": []
        if feature.pk is None
        else [
            {
                "name": wave.name,
                "position": wave.position,
                "state": str(wave.state),
                "share_ppm": wave.share_ppm,
                "any_of": wave.any_of,
            }
            for wave in sorted(feature.waves.all(), key=lambda wave: wave.position)
        ],
    }
