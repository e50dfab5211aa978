"""The outbox over REST: how many effects wait."""

from __future__ import annotations

from django.db.models import Count, Q
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.outbox.models import Outbox
from controlplane.rest.bodies import Body


class OutboxAnswer(Body):
    waiting = serializers.IntegerField(help_text="Due and not delivered yet")
    later = serializers.IntegerField(help_text="Not due yet")
    failing = serializers.IntegerField(help_text="Waiting, after at least one attempt")
    delivered = serializers.IntegerField()
    by_kind = serializers.DictField(child=serializers.IntegerField(), help_text="Waiting rows")
    oldest_due_at = serializers.DateTimeField(allow_null=True)


class OutboxView(APIView):
    @extend_schema(responses=OutboxAnswer, operation_id="get_outbox")
    def get(self, request: Request) -> Response:
        """How many effects wait to be delivered."""
        now = timezone.now()
        waiting = Outbox.objects.filter(delivered_at__isnull=True)
        counts = Outbox.objects.aggregate(
            waiting=Count("id", filter=Q(delivered_at__isnull=True, due_at__lte=now)),
            later=Count("id", filter=Q(delivered_at__isnull=True, due_at__gt=now)),
            failing=Count("id", filter=Q(delivered_at__isnull=True, attempts__gt=0)),
            delivered=Count("id", filter=Q(delivered_at__isnull=False)),
        )
        kinds = waiting.values("kind").annotate(n=Count("id")).order_by("kind")
        oldest = waiting.filter(due_at__lte=now).order_by("due_at").first()
        return Response(
            {
                **counts,
                "by_kind": {row["kind"]: row["n"] for row in kinds},
                "oldest_due_at": oldest.due_at if oldest else None,
            }
        )
