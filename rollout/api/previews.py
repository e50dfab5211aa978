"""Previews over REST: who gains, loses and changes variant, before anything is stored."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.actions.keys import Scope
from controlplane.rest.bodies import Body, number, read
from rollout.api.definitions import DefinitionsBody, asked
from rollout.api.features import FeaturePatch
from rollout.api.shapes import AnyOf
from rollout.questions.preview import LARGEST_SAMPLE, USUAL_SAMPLE, Preview, of_audience, of_document, of_feature
from rollout.serving.ruleset import LARGEST

OPTIONS = [
    OpenApiParameter("sample", int, description=f"Look at so many subscribers at most: 1 to {LARGEST_SAMPLE}"),
    OpenApiParameter("assume_on", bool, description="1: count as if the features were switched on"),
]


class FeatureChanges(FeaturePatch):
    reason = None  # type: ignore[assignment]  # nothing is stored, so nothing is audited
    revision = None  # type: ignore[assignment]


class AudienceChanges(Body):
    any_of = AnyOf()


class Tallied(Body):
    feature = serializers.CharField()
    had = serializers.IntegerField(help_text="How many of those looked at have it now")
    has = serializers.IntegerField(help_text="How many of them would have it")
    gains = serializers.IntegerField()
    loses = serializers.IntegerField()
    changes = serializers.IntegerField(help_text="Get another variant")
    by = serializers.DictField(help_text="By country, platform and carrier: who gains, loses and changes")
    examples = serializers.DictField(help_text="Up to five people of each, with the cause before and after")


class PreviewAnswer(Body):
    looked_at = serializers.IntegerField()
    people = serializers.IntegerField(help_text="How many subscribers there are")
    everybody = serializers.BooleanField(help_text="Whether all of them were looked at")
    exact = serializers.BooleanField(help_text="Whether `people` was counted, or estimated")
    assumed_on = serializers.BooleanField()
    words = serializers.ListField(child=serializers.CharField())
    features = Tallied(many=True)


def options(request: Request) -> dict[str, Any]:
    return {
        "now": timezone.now(),
        "sample": number(request, "sample", usual=USUAL_SAMPLE, least=1, most=LARGEST_SAMPLE),
        "assume_on": asked(request, "assume_on"),
    }


def shown(preview: Preview) -> Response:
    return Response(preview.as_json())


class FeaturePreviewView(APIView):
    required_scope = Scope.READ

    @extend_schema(parameters=OPTIONS, request=FeatureChanges, responses=PreviewAnswer, operation_id="preview_feature")
    def post(self, request: Request, key: str) -> Response:
        """What a change of the feature would do to people. Nothing is stored."""
        return shown(of_feature(key, read(FeatureChanges, request, partial=True), **options(request)))


class AudiencePreviewView(APIView):
    required_scope = Scope.READ

    @extend_schema(
        parameters=OPTIONS, request=AudienceChanges, responses=PreviewAnswer, operation_id="preview_audience"
    )
    def post(self, request: Request, key: str) -> Response:
        """What a change of the audience would do to every feature that uses it. Nothing is stored."""
        return shown(of_audience(key, read(AudienceChanges, request)["any_of"], **options(request)))


class DocumentPreviewView(APIView):
    required_scope = Scope.READ
    largest_body = LARGEST

    @extend_schema(
        parameters=OPTIONS, request=DefinitionsBody, responses=PreviewAnswer, operation_id="preview_definitions"
    )
    def post(self, request: Request) -> Response:
        """What importing this document would do to people. Nothing is stored."""
        return shown(of_document(request.data, **options(request)))
