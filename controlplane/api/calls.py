"""Calls over REST, as the journal keeps them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from calls.models import CallRecord
from controlplane.base.refusal import NotFound
from controlplane.rest.bodies import Body
from rollout.models import CallEvidence


class CallAnswer(Body):
    """A call without content and without numbers."""

    id = serializers.UUIDField()
    feature = serializers.CharField()
    area = serializers.CharField()
    media = serializers.CharField()
    activating = serializers.BooleanField()
    state = serializers.CharField()
    reason = serializers.CharField()
    cause = serializers.CharField()
    created_at = serializers.DateTimeField()
    rang_at = serializers.DateTimeField(allow_null=True)
    accepted_at = serializers.DateTimeField(allow_null=True)
    connected_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    setup_ms = serializers.IntegerField(allow_null=True, help_text="From the invite to both ends connected")


def call_answer(call: CallRecord, setup_ms: int | None) -> dict[str, Any]:
    call.setup_ms = setup_ms  # type: ignore[attr-defined]
    return dict(CallAnswer(call).data)


class CallView(APIView):
    @extend_schema(responses=CallAnswer, operation_id="get_call")
    def get(self, request: Request, id: UUID) -> Response:
        """One call: when it rang, was accepted, connected and ended, and why. No content, no numbers."""
        call = CallRecord.objects.filter(pk=id).first()
        if call is None:
            raise NotFound("No call with this id stands in the journal. A call appears there within a few seconds.")
        evidence = CallEvidence.objects.filter(pk=id).first()
        return Response(call_answer(call, evidence.setup_ms if evidence else None))
