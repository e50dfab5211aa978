"""Areas and grants over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import BadInput, NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, list_of, listed, newest_page, read
from controlplane.rest.etags import tag_asked, tagged
from controlplane.rest.subscribers import find_subscriber, find_subscribers
from rollout.actions import areas, grants
from rollout.api.bodies import (
    AreaAnswer,
    AreaBody,
    AreaPatch,
    DecisionAnswer,
    GivenAnswer,
    GrantAnswer,
    GrantBody,
    MeasurementAnswer,
)
from rollout.models import Area, CapacityDecision, Grant, Measurement, Source
from rollout.questions.overview import area_row, area_rows


def _area(key: str) -> Area:
    area = Area.objects.filter(key=key).first()
    if area is None:
        raise NotFound(f"There is no area {key[:64]!r}. The list of areas shows the keys that there are.")
    return area


def _with_row(area: Area) -> Area:
    """The area, and its newest load beside it."""
    area.row = area_row(area, timezone.now())  # type: ignore[attr-defined]
    return area


def _answer(area: Area, *, status: int = 200) -> Response:
    return tagged(Response(AreaAnswer(_with_row(area)).data, status=status), areas.tag_of(area))


class AreasView(APIView):
    @extend_schema(responses=list_of(AreaAnswer), operation_id="list_areas")
    def get(self, request: Request) -> Response:
        """Every area, with its newest load."""
        rows = area_rows(timezone.now())
        for row in rows:
            row.area.row = row  # type: ignore[attr-defined]
        return listed(AreaAnswer, [row.area for row in rows])

    @extend_schema(request=AreaBody, responses={201: AreaAnswer}, operation_id="create_area")
    def post(self, request: Request) -> Response:
        """A new area; nobody comes in there before its first measurement."""
        body = read(AreaBody, request)
        made = areas.create_area(body.pop("key"), actor=actor_of(request), now=timezone.now(), **body)
        made.refresh_from_db()
        return _answer(made, status=201)


class AreaView(APIView):
    @extend_schema(responses=AreaAnswer, operation_id="get_area")
    def get(self, request: Request, key: str) -> Response:
        """One area, with its newest load."""
        return _answer(_area(key))

    @extend_schema(request=AreaPatch, responses=AreaAnswer, operation_id="change_area")
    def patch(self, request: Request, key: str) -> Response:
        """Changes what is sent; the next tick comes at once."""
        body = read(AreaPatch, request, partial=True)
        reason = body.pop("reason", "")
        tag = tag_asked(request)
        areas.change_area(key, changes=body, reason=reason, tag=tag, actor=actor_of(request), now=timezone.now())
        return _answer(_area(key))


class DecisionsView(APIView):
    @extend_schema(parameters=PAGING, responses=list_of(DecisionAnswer), operation_id="list_area_decisions")
    def get(self, request: Request, key: str) -> Response:
        """What the controller decided, the newest first, each with its inputs and its words."""
        return listed(DecisionAnswer, *newest_page(request, CapacityDecision.objects.filter(area=_area(key))))


class MeasurementsView(APIView):
    @extend_schema(parameters=PAGING, responses=list_of(MeasurementAnswer), operation_id="list_area_measurements")
    def get(self, request: Request, key: str) -> Response:
        """What the edges reported, the newest first."""
        return listed(MeasurementAnswer, *newest_page(request, Measurement.objects.filter(area=_area(key))))


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
        if key := request.query_params.get("feature"):
            rows = rows.filter(feature__key=key)
        if named := request.query_params.get("subscriber"):
            rows = rows.filter(subscriber=find_subscriber(named))
        if source := request.query_params.get("source"):
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
        reason = read(ReasonBody, request)["reason"]
        return Response(GrantAnswer(action(id, reason=reason, actor=actor_of(request), now=timezone.now())).data)


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
