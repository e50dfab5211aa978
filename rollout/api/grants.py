"""Grants over REST: listed, given, revoked, frozen, thawed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, Body, ReasonBody, asked, list_of, listed, newest_page, read, reasoned
from controlplane.rest.subscribers import find_subscriber, find_subscribers
from rollout.actions import grants
from rollout.models import Grant, Source


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


class GrantsView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("feature", str, description="Only those of the feature with this key"),
            OpenApiParameter("subscriber", str, description="Only those of this subscriber: an id or a number"),
            OpenApiParameter("source", str, enum=list(Source), description="Only those that came about like this"),
            *PAGING,
        ],
        responses=list_of(GrantAnswer),
        operation_id="list_grants",
    )
    def get(self, request: Request) -> Response:
        """Grants, the newest first."""
        rows: Any = Grant.objects.select_related("feature")
        if key := asked(request, "feature"):
            rows = rows.filter(feature__key=key)
        if named := asked(request, "subscriber"):
            rows = rows.filter(subscriber=find_subscriber(named))
        if source := asked(request, "source"):
            if source not in list(Source):
                raise BadInput(f"A source is one of {', '.join(Source)}.", path="source")
            rows = rows.filter(source=source)
        return listed(GrantAnswer, *newest_page(request, rows))

    @extend_schema(request=GrantBody, responses={201: GivenAnswer}, operation_id="grant_people")
    def post(self, request: Request) -> Response:
        """Everybody named holds a grant afterwards, and their phones are told. All of them, or nobody."""
        body = read(GrantBody, request)
        people = find_subscribers(body["subscribers"])
        given = grants.grant_people(
            body["feature"],
            subscribers=[person.pk for person in people],
            reason=body["reason"],
            actor=actor_of(request),
            now=timezone.now(),
        )
        answer = {"grants": given.grants, "already": given.already, "remark": given.ignored}
        return Response(GivenAnswer(answer).data, status=201)


class GrantVerbView(APIView):
    """What the verbs of a grant share: each subclass names its action."""

    def act(self, action: Callable[..., Grant], request: Request, id: int) -> Response:
        return Response(GrantAnswer(action(id, **reasoned(request))).data)


class RevokeGrantView(GrantVerbView):
    @extend_schema(request=ReasonBody, responses=GrantAnswer, operation_id="revoke_grant")
    def post(self, request: Request, id: int) -> Response:
        """Takes the feature from one person; those whom they brought in keep it."""
        return self.act(grants.revoke_grant, request, id)


class FreezeGrantView(GrantVerbView):
    @extend_schema(request=ReasonBody, responses=GrantAnswer, operation_id="freeze_grant")
    def post(self, request: Request, id: int) -> Response:
        """The person keeps the feature, and can bring in nobody until the grant is thawed."""
        return self.act(grants.freeze_grant, request, id)


class ThawGrantView(GrantVerbView):
    @extend_schema(request=ReasonBody, responses=GrantAnswer, operation_id="thaw_grant")
    def post(self, request: Request, id: int) -> Response:
        """A person whose grant was frozen can bring in others again."""
        return self.act(grants.thaw_grant, request, id)
