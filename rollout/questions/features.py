"""A feature as changes would make it, and whether it could be published like that. Nothing is stored."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from rollout.errors import FeatureInvalid, FeatureUnknown
from rollout.models import Audience, Feature, Switch
from rollout.questions.rulesets import feature_document
from rollout.rules.definition import reading
from rollout.rules.definition.bounds import patterns_bounded
from rollout.rules.definition.feature import FeatureKind, audiences_known, parse_feature
from rollout.rules.definition.reading import Invalid

PATHS = {"default": "default_variant", "off": "off_variant"}
TEXTS = {"name": 100, "description": 10_000, "owner": 100}
CHANGEABLE = frozenset(
    {
        "name",
        "description",
        "owner",
        "tags",
        "access",
        "requirements",
        "prerequisites",
        "rules",
        "variants",
        "default_variant",
        "off_variant",
        "visible_to_phones",
    }
)


def new_feature(key: str, *, kind: str, fields: Mapping[str, Any]) -> Feature:
    """The feature as it would be made; nothing is stored. Raises `FeatureInvalid`."""
    feature = Feature(key=key, kind=kind, salt=secrets.token_hex(8), switch=Switch.OFF)
    assign(feature, fields)
    if not feature.variants and kind == FeatureKind.BOOLEAN:
        feature.variants = {"on": True, "off": False}
    validate_feature(feature)
    return feature


def proposed_feature(key: str, changes: Mapping[str, Any]) -> Feature:
    """The feature as these changes would make it; nothing is stored. Raises as `change_feature` does."""
    feature = Feature.objects.prefetch_related("waves").filter(key=key).first()
    if feature is None:
        raise FeatureUnknown(key)
    assign(feature, changes)
    validate_feature(feature)
    return feature


def assign(feature: Feature, changes: Mapping[str, Any]) -> None:
    strange = sorted(set(changes) - CHANGEABLE)
    if strange:
        raise FeatureInvalid(str(strange[0])[:64], f"can't be set; known are {', '.join(sorted(CHANGEABLE))}.")
    for name, value in changes.items():
        setattr(feature, name, value)


def validate_feature(feature: Feature) -> None:
    """Raises `FeatureInvalid` with the path of the first fault, in the words of the operators' interface."""
    try:
        for name, most in TEXTS.items():
            reading.title(getattr(feature, name), name, most=most, least=1 if name == "name" else 0)
        for i, tag in enumerate(reading.items(feature.tags, "tags", most=32)):
            reading.title(tag, f"tags[{i}]", most=32, least=1)
        patterns_bounded(feature.rules, "rules")
        parsed = parse_feature(feature_document(feature, windows_open=False), "")
        audiences_known(parsed, set(Audience.objects.values_list("key", flat=True)))
    except Invalid as error:
        first, dot, rest = error.path.partition(".")
        raise FeatureInvalid(PATHS.get(first, first) + dot + rest, error.why) from error
