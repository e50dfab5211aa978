"""The audit over REST, and whether its chain holds."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.actions.keys import Scope
from controlplane.audit.models import AuditEntry
from controlplane.audit.verify import verify
from controlplane.rest.bodies import PAGING, Body, list_of, listed, oldest_page


class AuditAnswer(serializers.ModelSerializer[AuditEntry]):
    digest = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor_kind", "actor", "verb", "subject", "reason", "detail", "sequence", "digest")

    def get_digest(self, entry: AuditEntry) -> str | None:
        return bytes(entry.digest).hex() if entry.digest else None


class VerifyAnswer(Body):
    ok = serializers.BooleanField()
    entries = serializers.IntegerField(help_text="Entries that were checked")
    unsealed = serializers.IntegerField(help_text="Entries that wait for the sealer")
    bad = serializers.IntegerField(allow_null=True, help_text="Sequence of the first entry that is wrong")
    words = serializers.CharField()


class AuditView(APIView):
    required_scope = Scope.AUDIT

    @extend_schema(parameters=PAGING, responses=list_of(AuditAnswer), operation_id="list_audit")
    def get(self, request: Request) -> Response:
        """Who decided what, the oldest first."""
        return listed(AuditAnswer, *oldest_page(request, AuditEntry.objects.all()))


class VerifyAuditView(APIView):
    required_scope = Scope.AUDIT

    @extend_schema(responses=VerifyAnswer, operation_id="verify_audit")
    def get(self, request: Request) -> Response:
        """Walks the whole trail: whether an entry was changed, left out or cut off."""
        found = verify()
        return Response(
            {
                "ok": found.ok,
                "entries": found.checked,
                "unsealed": found.unsealed,
                "bad": found.bad,
                "words": found.words,
            }
        )
