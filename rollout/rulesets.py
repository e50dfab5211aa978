"""The history of rulesets: each version's document, and what differs between two."""

from __future__ import annotations

from typing import Any

import orjson

from rollout.errors import RulesetUnknown
from rollout.models import Ruleset
from rollout.rules.difference import Change, differences


def ruleset_row(version: int) -> Ruleset:
    """Raises `RulesetUnknown`."""
    row = Ruleset.objects.filter(version=version).first()
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
