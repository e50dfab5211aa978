"""Features over REST: the list, one feature, its verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import (
    PAGING_BY_KEY,
    Body,
    ReasonBody,
    WhyBody,
    asked,
    created,
    keyed_page,
    list_of,
    listed,
    read,
)
from controlplane.rest.etags import revision_asked, tagged
from rollout.actions import features
from rollout.api.shapes import RequirementsField, Rules, RulesShown, VariantsField
from rollout.errors import FeatureUnknown
from rollout.models import Feature, FeatureKind, Grant, labels
from rollout.rules.definition.reading import KEY_PATTERN, KEY_WORDS

OF_FEATURE = OpenApiParameter("feature", str, description="Only those of the feature with this key")


class FeatureFields(ReasonBody):
    """What PATCH may change, and POST may set."""

    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, max_length=10_000, allow_blank=True)
    owner = serializers.CharField(required=False, max_length=100, allow_blank=True)
    tags = serializers.ListField(required=False, child=serializers.CharField(max_length=32), max_length=32)
    access = serializers.ChoiceField(required=False, choices=labels.ACCESS)
    requirements = RequirementsField(required=False)
    prerequisites = serializers.ListField(required=False, child=serializers.CharField(max_length=64), max_length=32)
    rules = Rules(required=False, max_length=256)
    variants = VariantsField(required=False)
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


class AccessBody(WhyBody):
    access = serializers.ChoiceField(choices=labels.ACCESS)


class FeatureAnswer(serializers.ModelSerializer[Feature]):
    requirements = RequirementsField(read_only=True)
    rules = RulesShown(read_only=True)
    variants = VariantsField(read_only=True)
    grants = serializers.SerializerMethodField(help_text="People who hold a live grant")

    class Meta:
        model = Feature
        fields = ("key", "name", "description", "owner", "tags", "kind", "switch", "access", "requirements",
                  "prerequisites", "rules", "variants", "default_variant", "off_variant", "visible_to_phones",
                  "stop_calls_before", "revision", "created_at", "grants")  # fmt: skip

    def get_grants(self, feature: Feature) -> int:
        return Grant.objects.live().filter(feature=feature).count()


def feature_of(key: str) -> Feature:
    feature = Feature.objects.filter(key=key).first()
    if feature is None:
        raise FeatureUnknown(key)
    return feature


def of_feature(request: Request, rows: Any) -> Any:
    """Only those of the feature that the query names, if it names one."""
    key = asked(request, "feature")
    return rows.filter(feature__key=key) if key else rows


def answer(feature: Feature) -> Response:
    return tagged(Response(FeatureAnswer(feature).data), feature.revision)


def done(request: Request, key: str, action: Callable[..., Feature], **body: Any) -> Response:
    """What the verb made of the feature. With `If-Match`, only if nobody changed it since."""
    revision = revision_asked(request)
    with transaction.atomic():
        if revision is not None:
            features.expect(key, revision)
        feature = action(key, actor=actor_of(request), now=timezone.now(), **body)
    return answer(feature)


class FeaturesView(APIView):
    @extend_schema(parameters=PAGING_BY_KEY, responses=list_of(FeatureAnswer), operation_id="list_features")
    def get(self, request: Request) -> Response:
        """Features in the order of their keys."""
        return listed(FeatureAnswer, *keyed_page(request, Feature.objects.all()))

    @extend_schema(request=FeatureBody, responses={201: FeatureAnswer}, operation_id="create_feature")
    def post(self, request: Request) -> Response:
        """A new feature, switched off."""
        body = read(FeatureBody, request)
        made = features.create_feature(
            body.pop("key"),
            name=body.pop("name"),
            kind=body.pop("kind"),
            reason=body.pop("reason"),
            fields=body,
            actor=actor_of(request),
            now=timezone.now(),
        )
        return created(request, answer(made), made.key)


class FeatureView(APIView):
    @extend_schema(responses=FeatureAnswer, operation_id="get_feature")
    def get(self, request: Request, key: str) -> Response:
        """One feature."""
        return answer(feature_of(key))

    @extend_schema(request=FeaturePatch, responses=FeatureAnswer, operation_id="change_feature")
    def patch(self, request: Request, key: str) -> Response:
        """Changes what is sent, and nothing else."""
        body = read(FeaturePatch, request, partial=True)
        reason, revision = body.pop("reason", ""), body.pop("revision", revision_asked(request))
        changed = features.change_feature(
            key, changes=body, reason=reason, revision=revision, actor=actor_of(request), now=timezone.now()
        )
        return answer(changed)


def verb(name: str, action: Callable[..., Feature], words: str, body: type[Body] = WhyBody) -> type[APIView]:
    """The view of a verb that takes only a reason."""

    @extend_schema(request=body, responses=FeatureAnswer, operation_id=f"{name}_feature", description=words)
    def post(self: APIView, request: Request, key: str) -> Response:
        return done(request, key, action, **read(body, request))

    return type(f"{name.capitalize()}View", (APIView,), {"post": post})


OnView = verb("on", features.switch_on, "Switches the feature on.")
OffView = verb("off", features.switch_off, "No new calls; running ones finish.", ReasonBody)
UnkillView = verb("unkill", features.unkill, "As it was before the kill.")
LaunchView = verb("launch", features.launch, "Whoever is eligible has it; no grant is needed any more.")


class KillView(APIView):
    @extend_schema(request=KillBody, responses=FeatureAnswer, operation_id="kill_feature")
    def post(self, request: Request, key: str) -> Response:
        """Stops the feature for everybody; with `end_calls`, calls that run end too."""
        return done(request, key, features.kill, **read(KillBody, request))


class AccessView(APIView):
    @extend_schema(request=AccessBody, responses=FeatureAnswer, operation_id="set_feature_access")
    def post(self, request: Request, key: str) -> Response:
        """Who decides who has it: grants, the rules, or nobody (everyone)."""
        return done(request, key, features.set_access, **read(AccessBody, request))
