"""Clauses, rules, requirements and variants as JSON Schema: what the published document says of what the rules read."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.accounts.rules.traits import DeviceClass
from rollout.models import labels
from rollout.rules.definition.audience import LONGEST_VALUE, MOST_CONDITIONS, MOST_LISTS, MOST_VALUES
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.clause import Operator
from rollout.rules.definition.feature import MOST_PREREQUISITES, MOST_RULES, MOST_VARIANTS, FeatureKind, Switch
from rollout.rules.definition.reading import KEY_PATTERN, KEY_WORDS
from rollout.rules.ruleset.document import MOST_AUDIENCES, MOST_FEATURES

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def closed(needed: tuple[str, ...] = (), **members: Schema) -> Schema:
    """An object that has no other members."""
    found: Schema = {"type": "object", "properties": members, "additionalProperties": False}
    return {**found, "required": list(needed)} if needed else found


def listed(inner: Schema, most: int, least: int = 0) -> Schema:
    return {"type": "array", "items": inner, "minItems": least, "maxItems": most}


def by_key(inner: Schema, most: int) -> Schema:
    names = {"pattern": _KEY["pattern"]}
    return {"type": "object", "propertyNames": names, "additionalProperties": inner, "maxProperties": most}


def text(most: int, least: int = 0) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


_KEY: Schema = {
    "type": "string",
    "pattern": KEY_PATTERN.replace(r"\A", "^").replace(r"\Z", "$"),
    "description": KEY_WORDS,
}
_FLAG: Schema = {"type": "boolean"}
_SHARE: Schema = {"type": "integer", "minimum": 0, "maximum": MILLION, "description": "Parts per million"}
_VALUE: Schema = {"anyOf": [text(LONGEST_VALUE), {"type": "number"}, _FLAG]}
_VERSION: Schema = {**text(64), "description": "The lowest version, such as 2.12.0; an empty text asks for none"}
_FEATURE: Schema = {
    "name": text(100),
    "description": text(10_000),
    "owner": text(100),
    "tags": listed(text(32, 1), 32),
    "access": {"type": "string", "enum": [value for value, _ in labels.ACCESS]},
    "requirements": ref("Requirements"),
    "prerequisites": listed(_KEY, MOST_PREREQUISITES),
    "rules": listed(ref("Rule"), MOST_RULES),
    "variants": ref("Variants"),
    "default_variant": _KEY,
    "off_variant": _KEY,
    "visible_to_phones": _FLAG,
}

COMPONENTS: dict[str, Schema] = {
    "AnyOf": {
        **listed(listed(ref("Condition"), MOST_CONDITIONS, 1), MOST_LISTS),
        "description": "Any of several lists of conditions, each list joined by AND. An empty list means everybody.",
    },
    "Condition": {"anyOf": [ref("Clause"), ref("NamedAudience"), ref("Group")]},
    "Clause": {
        **closed(
            ("trait", "operator"),
            trait={**text(64, 1), "description": "Such as country, platform, app_version, or one of your own"},
            operator={"type": "string", "enum": [str(operator) for operator in Operator]},
            values=listed(_VALUE, MOST_VALUES),
            value={**_VALUE, "description": "Instead of values, where there is one"},
            inverted=_FLAG,
            case_insensitive=_FLAG,
        ),
        "description": "One comparison of one trait. What can't be told never matches.",
    },
    "NamedAudience": closed(("audience",), audience=_KEY, inverted=_FLAG),
    "Group": closed(("any_of",), any_of=ref("AnyOf"), inverted=_FLAG),
    "Rule": {
        **closed(
            name=text(100),
            any_of=ref("AnyOf"),
            share_ppm=_SHARE,
            variant=_KEY,
            variants=listed(closed(("variant", "weight_ppm"), variant=_KEY, weight_ppm=_SHARE), MOST_VARIANTS, 1),
        ),
        "description": "Audience and share give one variant, or several whose weights sum to a million.",
    },
    "Requirements": {
        **closed(
            platforms=by_key(closed(app=_VERSION, os=_VERSION), 32),
            device_classes=listed({"type": "string", "enum": [str(each) for each in DeviceClass]}, len(DeviceClass)),
            others={"type": "string", "enum": ["allow", "refuse"], "description": "Platforms that aren't named"},
        ),
        "description": "What a phone must be before the feature can run on it.",
    },
    "Variants": {
        **by_key({}, MOST_VARIANTS),
        "description": "Values by name, of the feature's kind. A boolean feature without any has on and off.",
    },
    "AudienceDefinition": closed(("any_of",), name=text(100, 1), any_of=ref("AnyOf")),
    "FeatureDefinition": closed(
        kind={"type": "string", "enum": [str(kind) for kind in FeatureKind]},
        switch={"type": "string", "enum": [str(switch) for switch in Switch]},
        killed_from={"type": "string", "enum": [str(Switch.OFF), str(Switch.ON)]},
        salt=text(32),
        **_FEATURE,
    ),
}


@extend_schema_field(ref("AnyOf"))
class AnyOf(serializers.ListField):
    """The clauses themselves are read by the rules, which say what is wrong with them."""

    child = serializers.ListField(child=serializers.DictField(), max_length=64)


@extend_schema_field(ref("AnyOf"))
class AnyOfShown(serializers.JSONField):
    """Clauses, as they stand."""


@extend_schema_field(listed(ref("Rule"), MOST_RULES))
class Rules(serializers.ListField):
    child = serializers.DictField()


@extend_schema_field(listed(ref("Rule"), MOST_RULES))
class RulesShown(serializers.JSONField):
    """Rules, as they stand."""


@extend_schema_field(ref("Requirements"))
class RequirementsField(serializers.DictField):
    """Read by the rules."""


@extend_schema_field(ref("Variants"))
class VariantsField(serializers.DictField):
    """Read by the rules."""


@extend_schema_field(by_key(ref("AudienceDefinition"), MOST_AUDIENCES))
class AudiencesByKey(serializers.DictField):
    """Read by the rules."""


@extend_schema_field(by_key(ref("FeatureDefinition"), MOST_FEATURES))
class FeaturesByKey(serializers.DictField):
    """Read by the rules."""
