"""The overview over REST: where features and areas stand, in the console's words."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.console.panels import overview
from controlplane.rest.bodies import Body
from rollout.questions.overview import AreaRow, FeatureRow


class StandingShown(Body):
    tone = serializers.CharField(help_text="moving, steady, waiting, held or stopped")
    verdict = serializers.CharField()
    next = serializers.CharField()
    needs_person = serializers.BooleanField()


class HeadcountShown(Body):
    """How many people have the feature while it is on, by their decisions."""

    people = serializers.IntegerField(help_text="How many have it; an estimate unless everybody was looked at")
    having = serializers.IntegerField(help_text="How many of those looked at have it")
    looked_at = serializers.IntegerField()
    of = serializers.IntegerField(help_text="How many people there are")
    exact = serializers.BooleanField(help_text="Whether `of` was counted, or estimated")
    at = serializers.DateTimeField(help_text="When it was counted")


class FeatureStanding(Body):
    key = serializers.CharField()
    name = serializers.CharField()
    switch = serializers.CharField()
    access = serializers.CharField()
    headcount = HeadcountShown(allow_null=True, help_text="Null until it was counted")
    grants = serializers.IntegerField(help_text="People with a live grant; grants decide only where access is granted")
    subscribers = serializers.IntegerField()
    running_calls = serializers.IntegerField()
    sources = serializers.DictField(child=serializers.IntegerField())
    growth = serializers.ListField(child=serializers.IntegerField(), help_text="Grants, minute by minute, 30 minutes")
    windows = serializers.ListField(child=serializers.IntegerField(), help_text="Ids of the open windows")
    waves = serializers.ListField(child=serializers.IntegerField(), help_text="Ids of the open waves")
    standing = StandingShown()


class AreaStanding(Body):
    key = serializers.CharField()
    name = serializers.CharField()
    state = serializers.CharField()
    calls = serializers.IntegerField(allow_null=True)
    capacity_calls = serializers.IntegerField()
    load_ppm = serializers.IntegerField(allow_null=True)
    allowance = serializers.IntegerField()
    standing = StandingShown()


class CallsShown(Body):
    running = serializers.IntegerField()
    placed = serializers.IntegerField(help_text="In the last 15 minutes")
    connected = serializers.IntegerField(help_text="In the last 15 minutes")
    setup_p50_ms = serializers.IntegerField(allow_null=True)
    setup_p95_ms = serializers.IntegerField(allow_null=True)
    endings = serializers.DictField(child=serializers.IntegerField())


class OverviewAnswer(Body):
    at = serializers.DateTimeField()
    needs_person = serializers.ListField(child=serializers.CharField())
    calls = CallsShown()
    features = FeatureStanding(many=True)
    areas = AreaStanding(many=True)
    outbox_waiting = serializers.IntegerField()


class OverviewView(APIView):
    @extend_schema(responses=OverviewAnswer, operation_id="get_overview")
    def get(self, request: Request) -> Response:
        """What the console's overview shows, in the same words."""
        found = overview(timezone.now())
        return Response(
            OverviewAnswer(
                {
                    "at": found["now"],
                    "needs_person": [f"{what} {todo}" for _, _, what, todo in found["needs"]],
                    "calls": found["calls"],
                    "features": [feature_standing(row) for row in found["features"]],
                    "areas": [area_standing(row) for row in found["areas"]],
                    "outbox_waiting": found["waiting"],
                }
            ).data
        )


def feature_standing(row: FeatureRow) -> dict[str, Any]:
    return {
        "key": row.feature.key,
        "name": row.feature.name,
        "switch": row.feature.switch,
        "access": row.feature.access,
        "headcount": row.headcount,
        "grants": row.holders,
        "subscribers": row.subscribers,
        "running_calls": row.running_calls,
        "sources": row.sources,
        "growth": row.growth,
        "windows": [window.pk for window in row.windows],
        "waves": [wave.pk for wave in row.waves if wave.state == "open"],
        "standing": row.standing,
    }


def area_standing(row: AreaRow) -> dict[str, Any]:
    return {
        "key": row.area.key,
        "name": row.area.name,
        "state": row.area.state,
        "calls": row.calls,
        "capacity_calls": row.area.capacity_calls,
        "load_ppm": row.load_ppm,
        "allowance": row.allowance,
        "standing": row.standing,
    }
