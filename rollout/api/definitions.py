"""Export and import of definitions over REST."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import Body
from rollout.actions.definitions import import_definitions
from rollout.api.shapes import AudiencesByKey, FeaturesByKey
from rollout.questions.definitions import Plan, export, plan
from rollout.rules.ruleset.definitions import FORMAT
from rollout.serving.ruleset import LARGEST

REASON = OpenApiParameter("reason", str, description="Why; it stands in the audit")


class DefinitionsBody(Body):
    format = serializers.ChoiceField(choices=[FORMAT])
    audiences = AudiencesByKey(required=False, help_text="By key: name and any_of")
    features = FeaturesByKey(required=False, help_text="By key; what is left out stays as it is")


class ChangeShown(Body):
    path = serializers.CharField(help_text="As in features.voice-calls.rules[0].share_ppm")
    what = serializers.ChoiceField(choices=["added", "removed", "changed"])
    words = serializers.CharField()
    before = serializers.JSONField(required=False)
    after = serializers.JSONField(required=False)


class PlanAnswer(Body):
    dry_run = serializers.BooleanField()
    summary = serializers.CharField()
    changes = ChangeShown(many=True)
    remarks = serializers.ListField(child=serializers.CharField(), help_text="What is left alone, and why")


def plan_answer(found: Plan, *, dry_run: bool) -> Response:
    return Response(
        {
            "dry_run": dry_run,
            "summary": found.words[0],
            "changes": [change.as_json() for change in found.changes],
            "remarks": list(found.remarks),
        }
    )


def asked(request: Request, name: str) -> bool:
    """A switch of the query string: 1 or 0. Raises BadInput."""
    raw = request.query_params.get(name, "0")
    if raw not in ("0", "1", "true", "false"):
        raise BadInput(f"{name} must be 1 or 0.", path=name)
    return raw in ("1", "true")


def reason_asked(request: Request) -> str:
    reason = request.query_params.get("reason", "")
    if len(reason) > 500 or "\0" in reason:
        raise BadInput("reason may have at most 500 characters.", path="reason")
    return str(reason)


class ExportView(APIView):
    @extend_schema(responses=DefinitionsBody, operation_id="export_definitions")
    def get(self, request: Request) -> Response:
        """Every feature and audience as operators wrote them. Importing this changes nothing."""
        answer = Response(export())
        answer["Content-Disposition"] = 'attachment; filename="rollcall-definitions.json"'
        return answer


class ImportView(APIView):
    largest_body = LARGEST

    @extend_schema(
        parameters=[OpenApiParameter("dry_run", bool, description="1: only say what would change"), REASON],
        request=DefinitionsBody,
        responses=PlanAnswer,
        operation_id="import_definitions",
    )
    def post(self, request: Request) -> Response:
        """What the document names stands here as it says, at once or not at all; what it does not name stays. Grants,
        waves, windows and kills are left alone, and salts are kept.
        """
        document: Any = request.data
        if asked(request, "dry_run"):
            return plan_answer(plan(document, now=timezone.now()), dry_run=True)
        reason = reason_asked(request)
        done = import_definitions(document, actor=actor_of(request), now=timezone.now(), reason=reason)
        return plan_answer(done, dry_run=False)
