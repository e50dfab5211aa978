"""API keys over REST: listed, made, revoked."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.models import ApiKey
from controlplane.actions import keys
from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, created, list_of, listed, newest_page, read

SCOPES = [
    ("evaluate", "Ask what somebody has"),
    ("read", "See what operators see"),
    ("operate", "Every verb"),
    ("audit", "Read the audit"),
]


class KeyBody(ReasonBody):
    name = serializers.CharField(max_length=100, help_text="What it is for")
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=SCOPES), min_length=1, max_length=len(SCOPES))
    expires_at = serializers.DateTimeField(required=False, allow_null=True)


class KeyAnswer(serializers.ModelSerializer[ApiKey]):
    scopes = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "scopes", "created_by", "created_at", "expires_at", "revoked_at")


class NewKeyAnswer(KeyAnswer):
    key = serializers.CharField(help_text="In clear, this once")

    class Meta(KeyAnswer.Meta):
        fields = (*KeyAnswer.Meta.fields, "key")  # type: ignore[assignment]


class KeysView(APIView):
    @extend_schema(parameters=PAGING, responses=list_of(KeyAnswer), operation_id="list_keys")
    def get(self, request: Request) -> Response:
        """API keys, the newest first; their secrets can't be read."""
        return listed(KeyAnswer, *newest_page(request, ApiKey.objects.all()))

    @extend_schema(request=KeyBody, responses={201: NewKeyAnswer}, operation_id="create_key")
    def post(self, request: Request) -> Response:
        """A new key. Its secret stands in this answer and nowhere else.

        It may no more than the key that makes it, and ends with that at the latest.
        """
        body = read(KeyBody, request)
        maker = request.auth if isinstance(request.auth, ApiKey) else None
        key, row = keys.issue(body.pop("name"), actor=actor_of(request), now=timezone.now(), maker=maker, **body)
        return created(request, Response({**KeyAnswer(row).data, "key": key}), row.pk)


class KeyView(APIView):
    @extend_schema(responses=KeyAnswer, operation_id="get_key")
    def get(self, request: Request, id: int) -> Response:
        """One API key, without its secret."""
        row = ApiKey.objects.filter(pk=id).first()
        if row is None:
            raise NotFound(f"There is no API key {id}.")
        return Response(KeyAnswer(row).data)


class RevokeKeyView(APIView):
    @extend_schema(request=ReasonBody, responses=KeyAnswer, operation_id="revoke_key")
    def post(self, request: Request, id: int) -> Response:
        """Whoever uses the key is refused from now on."""
        reason = read(ReasonBody, request)["reason"]
        row = keys.withdraw(id, actor=actor_of(request), now=timezone.now(), reason=reason)
        return Response(KeyAnswer(row).data)
