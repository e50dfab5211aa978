"""What the operators' REST takes and gives about features, windows, waves, areas and grants."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.rest.bodies import Body, ReasonBody
from rollout.models import (
    ActivateOn,
    Area,
    CapacityDecision,
    Feature,
    FeatureKind,
    Grant,
    Measurement,
    Wave,
    Window,
    labels,
)
from rollout.rules.definition.area import KEY_PATTERN as AREA_PATTERN
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.reading import KEY_PATTERN, KEY_WORDS

CLAUSES = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    "description": "Any of several lists of clauses, each list joined by AND: "
    '[[{"trait": "country", "operator": "IN", "values": ["DE"]}]]. An empty list means everybody.',
}


@extend_schema_field(CLAUSES)
class AnyOf(serializers.ListField):
    """The clauses themselves are read by the rules, which say what is wrong with them."""

    child = serializers.ListField(child=serializers.DictField(), max_length=64)


class FeatureFields(ReasonBody):
    """What PATCH may change, and POST may set."""

    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, max_length=10_000, allow_blank=True)
    owner = serializers.CharField(required=False, max_length=100, allow_blank=True)
    tags = serializers.ListField(required=False, child=serializers.CharField(max_length=32), max_length=32)
    access = serializers.ChoiceField(required=False, choices=labels.ACCESS)
    requirements = serializers.DictField(required=False)
    prerequisites = serializers.ListField(required=False, child=serializers.CharField(max_length=64), max_length=32)
    rules = serializers.ListField(required=False, child=serializers.DictField(), max_length=256)
    variants = serializers.DictField(required=False)
    default_variant = serializers.CharField(required=False, max_length=64)
    off_variant = serializers.CharField(required=False, max_length=64)
    visible_to_phones = serializers.BooleanField(required=False)


class FeatureBody(FeatureFields):
    key = serializers.RegexField(KEY_PATTERN, help_text=KEY_WORDS)
    kind = serializers.ChoiceField(required=False, choices=labels.FEATURE_KIND, default=FeatureKind.BOOLEAN.value)


class FeaturePatch(FeatureFields):
    name = serializers.CharField(required=False, max_length=100)
    revision = serializers.IntegerField(
        required=False, min_value=1, help_text="Change only if nobody changed the feature since this revision"
    )


class KillBody(ReasonBody):
    end_calls = serializers.BooleanField(default=False, help_text="Also end the calls that run")


class AccessBody(ReasonBody):
    access = serializers.ChoiceField(choices=labels.ACCESS)


class FeatureAnswer(serializers.ModelSerializer[Feature]):
    grants = serializers.SerializerMethodField(help_text="People who hold a live grant")

    class Meta:
        model = Feature
        fields = ("key", "name", "description", "owner", "tags", "kind", "switch", "access", "requirements",
                  "prerequisites", "rules", "variants", "default_variant", "off_variant", "visible_to_phones",
                  "stop_calls_before", "revision", "created_at", "grants")  # fmt: skip

    def get_grants(self, feature: Feature) -> int:
        return Grant.objects.live().filter(feature=feature).count()


class WindowBody(ReasonBody):
    feature = serializers.CharField(max_length=64, help_text="The key of the feature")
    name = serializers.CharField(max_length=100)
    question = serializers.CharField(required=False, max_length=2000, allow_blank=True, default="")
    test = serializers.BooleanField(required=False, default=False)
    areas = serializers.ListField(
        required=False, child=serializers.CharField(max_length=64), max_length=1000, default=list,
        help_text="Keys of areas; none means everywhere",
    )  # fmt: skip
    activate_on = serializers.ChoiceField(required=False, choices=labels.ACTIVATE_ON, default=ActivateOn.ANSWERED.value)
    quota = serializers.IntegerField(required=False, min_value=0, default=5)
    depth_limit = serializers.IntegerField(required=False, min_value=0, allow_null=True, default=None)
    places = serializers.IntegerField(required=False, min_value=1, default=1000)
    root_budget = serializers.IntegerField(required=False, min_value=0, default=1000)
    min_grant_age_seconds = serializers.IntegerField(required=False, min_value=0, default=0)
    closes_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    open = serializers.BooleanField(required=False, default=False, help_text="Open it at once")


class WindowAnswer(serializers.ModelSerializer[Window]):
    feature = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    areas = serializers.SlugRelatedField[Any](slug_field="key", many=True, read_only=True)
    report = serializers.DictField(read_only=True, allow_null=True, help_text="What it taught, once it is closed")

    class Meta:
        model = Window
        fields = ("id", "feature", "name", "question", "test", "areas", "state", "activate_on", "quota", "depth_limit",
                  "places", "root_budget", "min_grant_age_seconds", "used", "pending", "opened_at", "closes_at",
                  "closed_at", "report")  # fmt: skip


class WaveBody(ReasonBody):
    feature = serializers.CharField(max_length=64, help_text="The key of the feature")
    name = serializers.CharField(max_length=100)
    any_of = AnyOf(required=False, default=list, max_length=64)
    share_ppm = serializers.IntegerField(required=False, default=MILLION, min_value=0, max_value=MILLION)
    position = serializers.IntegerField(required=False, min_value=1, max_value=10_000)


@extend_schema_field(CLAUSES)
class AnyOfShown(serializers.JSONField):
    """Clauses, as they stand."""


class WaveAnswer(serializers.ModelSerializer[Wave]):
    feature = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    any_of = AnyOfShown(read_only=True)

    class Meta:
        model = Wave
        fields = ("id", "feature", "position", "name", "any_of", "share_ppm", "state", "held_by", "standstill",
                  "passed_over", "admitted", "opened_at", "done_at")  # fmt: skip


class AreaPatch(ReasonBody):
    name = serializers.CharField(required=False, max_length=100)
    countries = serializers.ListField(
        required=False, child=serializers.RegexField(r"\A[A-Z]{2}\Z"), max_length=300, help_text="ISO 3166"
    )
    carriers = serializers.ListField(
        required=False, child=serializers.RegexField(r"\A\d{3}-\d{2,3}\Z"), max_length=2000, help_text="MCC-MNC"
    )
    capacity_calls = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    hold_above_ppm = serializers.IntegerField(required=False, min_value=0, max_value=MILLION)
    resume_below_ppm = serializers.IntegerField(required=False, min_value=0, max_value=MILLION)
    activations_per_minute = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    tick_seconds = serializers.FloatField(required=False, min_value=0.5, max_value=3600)
    stale_seconds = serializers.FloatField(required=False, min_value=0.5, max_value=86_400)


class AreaBody(AreaPatch):
    key = serializers.RegexField(AREA_PATTERN)
    capacity_calls = serializers.IntegerField(min_value=1, max_value=2**31 - 1)


class AreaAnswer(serializers.ModelSerializer[Area]):
    calls = serializers.IntegerField(source="row.calls", allow_null=True, help_text="Null when the load is not known")
    load_ppm = serializers.IntegerField(source="row.load_ppm", allow_null=True)
    measured_at = serializers.DateTimeField(source="row.measured_at", allow_null=True)
    allowance = serializers.IntegerField(source="row.allowance", help_text="People who may still come in")
    allowance_until = serializers.DateTimeField(source="row.allowance_until", allow_null=True)

    class Meta:
        model = Area
        fields = ("key", "name", "countries", "carriers", "capacity_calls", "hold_above_ppm", "resume_below_ppm",
                  "activations_per_minute", "tick_seconds", "stale_seconds", "state", "reason", "calls", "load_ppm",
                  "measured_at", "allowance", "allowance_until")  # fmt: skip


class DecisionAnswer(serializers.ModelSerializer[CapacityDecision]):
    class Meta:
        model = CapacityDecision
        fields = ("id", "at", "state", "previous_state", "reason", "would_change", "minted", "inputs")


class MeasurementAnswer(serializers.ModelSerializer[Measurement]):
    class Meta:
        model = Measurement
        fields = ("id", "sampled_at", "concurrent_calls", "attempts", "edges")


class GrantBody(ReasonBody):
    feature = serializers.CharField(max_length=64, help_text="The key of the feature")
    subscribers = serializers.ListField(
        child=serializers.CharField(max_length=64), min_length=1, max_length=1000, help_text="Ids or phone numbers"
    )


class GrantAnswer(serializers.ModelSerializer[Grant]):
    feature = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    subscriber = serializers.UUIDField(source="subscriber_id", allow_null=True)
    window = serializers.IntegerField(source="window_id", allow_null=True)
    wave = serializers.IntegerField(source="wave_id", allow_null=True)
    parent = serializers.IntegerField(source="parent_id", allow_null=True)  # type: ignore[assignment]

    class Meta:
        model = Grant
        fields = ("id", "feature", "subscriber", "source", "state", "window", "wave", "parent", "root", "depth", "call",
                  "granted_at", "granted_by")  # fmt: skip


class GivenAnswer(Body):
    grants = serializers.ListField(child=serializers.IntegerField(), help_text="Ids of the grants that were made")
    already = serializers.ListField(child=serializers.UUIDField(), help_text="People who held a grant before")
    remark = serializers.CharField(help_text="Why the grants give nobody the feature now; empty when they do")


class BranchAnswer(Body):
    """One person in the invite tree. `children` are of the same form."""

    subscriber = serializers.UUIDField(allow_null=True)
    name = serializers.CharField()
    grant = serializers.IntegerField()
    source = serializers.CharField()  # type: ignore[assignment]
    state = serializers.CharField()
    depth = serializers.IntegerField()
    granted_at = serializers.DateTimeField()
    window = serializers.IntegerField(allow_null=True)
    below = serializers.IntegerField(help_text="How many came in below this person")
    children = serializers.ListField(child=serializers.DictField())
