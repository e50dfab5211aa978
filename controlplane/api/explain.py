"""Explain over REST: the decision, its cause, every step, and the last refused invites with their exact cause."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput
from controlplane.rest.bodies import Body, asked
from controlplane.rest.subscribers import find_subscriber
from rollout.errors import FeatureUnknown
from rollout.models import Feature
from rollout.questions.explain import explain

NAMED = "A subscriber's id or number"


class Explained(Body):
    id = serializers.UUIDField()
    name = serializers.CharField()
    accepts_invites = serializers.BooleanField()


class ExplainAnswer(Body):
    """The decision, its cause in words, each step, and what stands around it."""

    subscriber = Explained()
    feature = serializers.CharField()
    at = serializers.DateTimeField()
    ruleset = serializers.IntegerField(help_text="Version of the ruleset that decided")
    enabled = serializers.BooleanField()
    value = serializers.JSONField()
    variant = serializers.CharField()
    reason = serializers.CharField(help_text="OpenFeature's reason")
    cause = serializers.CharField()
    words = serializers.CharField()
    detail = serializers.DictField()
    trace = serializers.ListField(child=serializers.DictField())
    traits = serializers.DictField()
    bucket = serializers.IntegerField(allow_null=True, help_text="0 to 999,999")
    grant = serializers.DictField(allow_null=True)
    waves = serializers.ListField(child=serializers.DictField())
    windows = serializers.ListField(child=serializers.DictField())
    refusals = serializers.ListField(
        child=serializers.DictField(), help_text="The last refused invites, with the exact cause"
    )


class ExplainView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("subscriber", str, required=True, description=NAMED),
            OpenApiParameter("feature", str, required=True, description="The key of the feature"),
            OpenApiParameter("callee", str, description=f"{NAMED}: only refused calls to this person"),
        ],
        responses=ExplainAnswer,
        operation_id="explain",
    )
    def get(self, request: Request) -> Response:
        """Why somebody has a feature or not."""
        named = {name: asked(request, name) for name in ("subscriber", "feature", "callee")}
        for name in ("subscriber", "feature"):
            if not named[name]:
                raise BadInput(f"Name the {name}: ?subscriber=<id or number>&feature=<key>.", path=name)
        person = find_subscriber(named["subscriber"])
        callee = find_subscriber(named["callee"], path="callee") if named["callee"] else None
        if not Feature.objects.filter(key=named["feature"]).exists():
            raise FeatureUnknown(named["feature"])
        told = explain(person, named["feature"], callee=callee, now=timezone.now())
        return Response({**told.pop("decision"), **told})
