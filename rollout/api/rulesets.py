"""The history of rulesets over REST: the list, one version, what differs, and restoring."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, Body, ReasonBody, list_of, listed, newest_page, read
from rollout.actions.definitions import restore
from rollout.api.definitions import ChangeShown, PlanAnswer, plan_answer
from rollout.models import Ruleset
from rollout.questions.rulesets import compared, document_of, history, ruleset_row
from rollout.rules.ruleset.difference import summary


class RulesetAnswer(serializers.ModelSerializer[Ruleset]):
    size = serializers.IntegerField(help_text="Bytes of the canonical JSON")

    class Meta:
        model = Ruleset
        fields = ("version", "published_at", "published_by", "note", "key_id", "size")


class RulesetDetailAnswer(RulesetAnswer):
    document = serializers.SerializerMethodField(help_text="What was signed")
    signature = serializers.SerializerMethodField(help_text="Ed25519, in hexadecimal digits")

    class Meta(RulesetAnswer.Meta):
        fields = (*RulesetAnswer.Meta.fields, "signature", "document")  # type: ignore[assignment]

    def get_document(self, row: Ruleset) -> dict[str, Any]:
        return document_of(row.version)

    def get_signature(self, row: Ruleset) -> str:
        return bytes(row.signature).hex()


class DiffAnswer(Body):
    a = serializers.IntegerField()
    b = serializers.IntegerField()
    summary = serializers.CharField()
    changes = ChangeShown(many=True)


class RulesetsView(APIView):
    @extend_schema(parameters=PAGING, responses=list_of(RulesetAnswer), operation_id="list_rulesets")
    def get(self, request: Request) -> Response:
        """Every ruleset that was published, the newest first."""
        return listed(RulesetAnswer, *newest_page(request, history()))


class RulesetView(APIView):
    @extend_schema(responses=RulesetDetailAnswer, operation_id="get_ruleset")
    def get(self, request: Request, version: int) -> Response:
        """One ruleset, with the whole document."""
        return Response(RulesetDetailAnswer(ruleset_row(version)).data)


class DiffView(APIView):
    @extend_schema(responses=DiffAnswer, operation_id="compare_rulesets")
    def get(self, request: Request, a: int, b: int) -> Response:
        """What changed from version a to version b, in words and with every path. Version 0 is the empty one."""
        changes = compared(a, b)
        shown = [change.as_json() for change in changes]
        return Response({"a": a, "b": b, "summary": summary(changes), "changes": shown})


class RestoreView(APIView):
    @extend_schema(request=ReasonBody, responses=PlanAnswer, operation_id="restore_ruleset")
    def post(self, request: Request, version: int) -> Response:
        """Features and audiences are defined again as in that version, in a new one. A restore neither kills nor
        un-kills; names, waves, windows, areas, keys and grants stay.
        """
        reason = read(ReasonBody, request)["reason"]
        done = restore(version, actor=actor_of(request), now=timezone.now(), reason=reason)
        return plan_answer(done, dry_run=False)
