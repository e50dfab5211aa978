"""The history of rulesets: each version's document, and what differs between two."""

from __future__ import annotations

from typing import Any

import orjson
from django.db.models import QuerySet
from django.db.models.functions import Length

from rollout.errors import RulesetUnknown
from rollout.models import Ruleset
from rollout.rules.ruleset.difference import Change, differences


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
