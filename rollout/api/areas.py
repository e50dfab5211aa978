"""Areas over REST, with what was measured and decided there."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, created, list_of, listed, newest_page, read
from controlplane.rest.etags import tag_asked, tagged
from rollout.actions import areas
from rollout.models import Area, CapacityDecision, Measurement
from rollout.questions.overview import area_row, area_rows
from rollout.rules.definition.area import KEY_PATTERN as AREA_PATTERN
from rollout.rules.definition.bucket import MILLION


class AreaPatch(ReasonBody):
    name = serializers.CharField(required=False, max_length=100)
    countries = serializers.ListField(
        required=False, child=serializers.RegexField(r"\A[A-Z]{2}\Z"), max_length=300, help_text="ISO 3166"
    )
    carriers = serializers.ListField(
        required=False, child=serializers.RegexField(r"\A\d{3}-\d{2,3}\Z"), max_length=2000, help_text="MCC-MNC"
    )
    capacity_calls = serializers.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    hold_above_ppm = serializers.IntegerField(required=False, min_value=0, max_value=MILLION)
    resume_below_ppm = serializers.IntegerField(required=False, min_value=0, max_value=MILLION)
    activations_per_minute = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    tick_seconds = serializers.FloatField(required=False, min_value=0.5, max_value=3600)
    stale_seconds = serializers.FloatField(required=False, min_value=0.5, max_value=86_400)


class AreaBody(AreaPatch):
    key = serializers.RegexField(AREA_PATTERN)
    capacity_calls = serializers.IntegerField(min_value=1, max_value=2**31 - 1)


class AreaAnswer(serializers.ModelSerializer[Area]):
    calls = serializers.IntegerField(source="row.calls", allow_null=True, help_text="Null when the load is not known")
    load_ppm = serializers.IntegerField(source="row.load_ppm", allow_null=True)
    measured_at = serializers.DateTimeField(source="row.measured_at", allow_null=True)
    allowance = serializers.IntegerField(source="row.allowance", help_text="People who may still come in")
    allowance_until = serializers.DateTimeField(source="row.allowance_until", allow_null=True)

    class Meta:
        model = Area
        fields = ("key", "name", "countries", "carriers", "capacity_calls", "hold_above_ppm", "resume_below_ppm",
                  "activations_per_minute", "tick_seconds", "stale_seconds", "state", "reason", "calls", "load_ppm",
                  "measured_at", "allowance", "allowance_until")  # fmt: skip


class DecisionAnswer(serializers.ModelSerializer[CapacityDecision]):
    class Meta:
        model = CapacityDecision
        fields = ("id", "at", "state", "previous_state", "reason", "would_change", "minted", "inputs")


class MeasurementAnswer(serializers.ModelSerializer[Measurement]):
    class Meta:
        model = Measurement
        fields = ("id", "sampled_at", "concurrent_calls", "attempts", "edges")


def _area(key: str) -> Area:
    area = Area.objects.filter(key=key).first()
    if area is None:
        raise NotFound(f"There is no area {key[:64]!r}. The list of areas shows the keys that there are.")
    return area


def _with_row(area: Area) -> Area:
    """The area, and its newest load beside it."""
    area.row = area_row(area, timezone.now())  # type: ignore[attr-defined]
    return area


def _answer(area: Area) -> Response:
    return tagged(Response(AreaAnswer(_with_row(area)).data), areas.tag_of(area))


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
        return created(request, _answer(made), made.key)


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
