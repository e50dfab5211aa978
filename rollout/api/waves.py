"""Waves over REST: made, looked at, opened, held, resumed."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, created, list_of, listed, newest_page, read, reasoned
from rollout.actions import waves
from rollout.api.features import OF_FEATURE, of_feature
from rollout.api.shapes import AnyOf, AnyOfShown
from rollout.models import Wave
from rollout.rules.definition.bucket import MILLION


class WaveBody(ReasonBody):
    feature = serializers.CharField(max_length=64, help_text="The key of the feature")
    name = serializers.CharField(max_length=100)
    any_of = AnyOf(required=False, default=list, max_length=64)
    share_ppm = serializers.IntegerField(required=False, default=MILLION, min_value=0, max_value=MILLION)
    position = serializers.IntegerField(required=False, min_value=1, max_value=10_000)


class WaveAnswer(serializers.ModelSerializer[Wave]):
    feature = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    any_of = AnyOfShown(read_only=True)

    class Meta:
        model = Wave
        fields = ("id", "feature", "position", "name", "any_of", "share_ppm", "state", "held_by", "standstill",
                  "passed_over", "admitted", "opened_at", "done_at")  # fmt: skip


def wave_answer(wave_id: int) -> Response:
    wave = Wave.objects.filter(pk=wave_id).select_related("feature").first()
    if wave is None:
        raise NotFound(f"There is no wave {wave_id}.")
    return Response(WaveAnswer(wave).data)


class WavesView(APIView):
    @extend_schema(parameters=[OF_FEATURE, *PAGING], responses=list_of(WaveAnswer), operation_id="list_waves")
    def get(self, request: Request) -> Response:
        """Waves, the newest first; `position` is their place in the feature's plan."""
        rows = Wave.objects.select_related("feature")
        return listed(WaveAnswer, *newest_page(request, of_feature(request, rows)))

    @extend_schema(request=WaveBody, responses={201: WaveAnswer}, operation_id="create_wave")
    def post(self, request: Request) -> Response:
        """A draft; nobody comes in before it is opened."""
        body = read(WaveBody, request)
        made = waves.create_wave(body.pop("feature"), actor=actor_of(request), now=timezone.now(), **body)
        return created(request, wave_answer(made.pk), made.pk)


class WaveView(APIView):
    @extend_schema(responses=WaveAnswer, operation_id="get_wave")
    def get(self, request: Request, id: int) -> Response:
        """One wave; `standstill` says why nobody comes in."""
        return wave_answer(id)


class OpenWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="open_wave")
    def post(self, request: Request, id: int) -> Response:
        """People of the wave come in from now on, as capacity allows."""
        waves.open_wave(id, **reasoned(request))
        return wave_answer(id)


class HoldWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="hold_wave")
    def post(self, request: Request, id: int) -> Response:
        """Nobody else comes in; who is in stays."""
        waves.hold_wave(id, **reasoned(request))
        return wave_answer(id)


class ResumeWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="resume_wave")
    def post(self, request: Request, id: int) -> Response:
        """Goes on where it was held."""
        waves.resume_wave(id, **reasoned(request))
        return wave_answer(id)
