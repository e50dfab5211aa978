"""Windows and waves over REST: made, looked at, opened, closed, held, resumed."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, list_of, listed, newest_page, read
from rollout.actions import waves, windows
from rollout.api.bodies import WaveAnswer, WaveBody, WindowAnswer, WindowBody
from rollout.models import Wave, Window

OF_FEATURE = OpenApiParameter("feature", str, description="Only those of the feature with this key")


def _of_feature(request: Request, rows: Any) -> Any:
    key = request.query_params.get("feature")
    return rows.filter(feature__key=key) if key else rows


def _reason(request: Request) -> dict[str, Any]:
    """What every verb hands to its action."""
    return {"reason": read(ReasonBody, request)["reason"], "actor": actor_of(request), "now": timezone.now()}


def window_answer(window_id: int, *, status: int = 200) -> Response:
    window = Window.objects.filter(pk=window_id).select_related("feature").prefetch_related("areas").first()
    if window is None:
        raise NotFound(f"There is no window {window_id}.")
    return Response(WindowAnswer(window).data, status=status)


class WindowsView(APIView):
    @extend_schema(parameters=[OF_FEATURE, *PAGING], responses=list_of(WindowAnswer), operation_id="list_windows")
    def get(self, request: Request) -> Response:
        """Windows, the newest first."""
        rows = Window.objects.select_related("feature").prefetch_related("areas")
        return listed(WindowAnswer, *newest_page(request, _of_feature(request, rows)))

    @extend_schema(request=WindowBody, responses={201: WindowAnswer}, operation_id="create_window")
    def post(self, request: Request) -> Response:
        """A new window; with `open`, it is opened at once. Either both happen, or nothing."""
        body = read(WindowBody, request)
        actor, now, at_once = actor_of(request), timezone.now(), body.pop("open")
        with transaction.atomic():
            window = windows.create_window(body.pop("feature"), actor=actor, now=now, **body)
            if at_once:
                windows.open_window(window.pk, actor=actor, now=now, reason=body["reason"])
        return window_answer(window.pk, status=201)


class WindowView(APIView):
    @extend_schema(responses=WindowAnswer, operation_id="get_window")
    def get(self, request: Request, id: int) -> Response:
        """One window; its report stands here soon after it was closed."""
        return window_answer(id)


class OpenWindowView(APIView):
    @extend_schema(request=ReasonBody, responses=WindowAnswer, operation_id="open_window")
    def post(self, request: Request, id: int) -> Response:
        """From now on, people who have the feature bring in those they call."""
        windows.open_window(id, **_reason(request))
        return window_answer(id)


class CloseWindowView(APIView):
    commits_itself = True  # so that the close is certain before it is acknowledged

    @extend_schema(request=ReasonBody, responses=WindowAnswer, operation_id="close_window")
    def post(self, request: Request, id: int) -> Response:
        """When this answers, nobody is granted through the window any more. Who came in keeps the feature."""
        windows.close_window(id, **_reason(request))
        return window_answer(id)


def wave_answer(wave_id: int, *, status: int = 200) -> Response:
    wave = Wave.objects.filter(pk=wave_id).select_related("feature").first()
    if wave is None:
        raise NotFound(f"There is no wave {wave_id}.")
    return Response(WaveAnswer(wave).data, status=status)


class WavesView(APIView):
    @extend_schema(parameters=[OF_FEATURE, *PAGING], responses=list_of(WaveAnswer), operation_id="list_waves")
    def get(self, request: Request) -> Response:
        """Waves, the newest first; `position` is their place in the feature's plan."""
        rows = Wave.objects.select_related("feature")
        return listed(WaveAnswer, *newest_page(request, _of_feature(request, rows)))

    @extend_schema(request=WaveBody, responses={201: WaveAnswer}, operation_id="create_wave")
    def post(self, request: Request) -> Response:
        """A draft; nobody comes in before it is opened."""
        body = read(WaveBody, request)
        made = waves.create_wave(body.pop("feature"), actor=actor_of(request), now=timezone.now(), **body)
        return wave_answer(made.pk, status=201)


class WaveView(APIView):
    @extend_schema(responses=WaveAnswer, operation_id="get_wave")
    def get(self, request: Request, id: int) -> Response:
        """One wave; `standstill` says why nobody comes in."""
        return wave_answer(id)


class OpenWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="open_wave")
    def post(self, request: Request, id: int) -> Response:
        """People of the wave come in from now on, as capacity allows."""
        waves.open_wave(id, **_reason(request))
        return wave_answer(id)


class HoldWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="hold_wave")
    def post(self, request: Request, id: int) -> Response:
        """Nobody else comes in; who is in stays."""
        waves.hold_wave(id, **_reason(request))
        return wave_answer(id)


class ResumeWaveView(APIView):
    @extend_schema(request=ReasonBody, responses=WaveAnswer, operation_id="resume_wave")
    def post(self, request: Request, id: int) -> Response:
        """Goes on where it was held."""
        waves.resume_wave(id, **_reason(request))
        return wave_answer(id)
