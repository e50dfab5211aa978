"""Windows over REST: made, looked at, opened, closed."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING, ReasonBody, created, list_of, listed, newest_page, read, reasoned
from rollout.actions import windows
from rollout.api.features import OF_FEATURE, of_feature
from rollout.models import ActivateOn, Window, labels


class WindowBody(ReasonBody):
    feature = serializers.CharField(max_length=64, help_text="The key of the feature")
    name = serializers.CharField(max_length=100)
    question = serializers.CharField(required=False, max_length=2000, allow_blank=True, default="")
    test = serializers.BooleanField(required=False, default=False)
    areas = serializers.ListField(
        required=False, child=serializers.CharField(max_length=64), max_length=1000, default=list,
        help_text="Keys of areas; none means everywhere",
    )  # fmt: skip
    activate_on = serializers.ChoiceField(required=False, choices=labels.ACTIVATE_ON, default=ActivateOn.ANSWERED.value)
    quota = serializers.IntegerField(required=False, min_value=0, default=5)
    depth_limit = serializers.IntegerField(required=False, min_value=0, allow_null=True, default=None)
    places = serializers.IntegerField(required=False, min_value=1, default=1000)
    root_budget = serializers.IntegerField(required=False, min_value=0, default=1000)
    min_grant_age_seconds = serializers.IntegerField(required=False, min_value=0, default=0)
    closes_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    open = serializers.BooleanField(required=False, default=False, help_text="Open it at once")


class WindowAnswer(serializers.ModelSerializer[Window]):
    feature = serializers.SlugRelatedField[Any](slug_field="key", read_only=True)
    areas = serializers.SlugRelatedField[Any](slug_field="key", many=True, read_only=True)
    report = serializers.DictField(read_only=True, allow_null=True, help_text="What it taught, once it is closed")

    class Meta:
        model = Window
        fields = ("id", "feature", "name", "question", "test", "areas", "state", "activate_on", "quota", "depth_limit",
                  "places", "root_budget", "min_grant_age_seconds", "used", "pending", "opened_at", "closes_at",
                  "closed_at", "report")  # fmt: skip


def window_answer(window_id: int) -> Response:
    window = Window.objects.filter(pk=window_id).select_related("feature").prefetch_related("areas").first()
    if window is None:
        raise NotFound(f"There is no window {window_id}.")
    return Response(WindowAnswer(window).data)


class WindowsView(APIView):
    @extend_schema(parameters=[OF_FEATURE, *PAGING], responses=list_of(WindowAnswer), operation_id="list_windows")
    def get(self, request: Request) -> Response:
        """Windows, the newest first."""
        rows = Window.objects.select_related("feature").prefetch_related("areas")
        return listed(WindowAnswer, *newest_page(request, of_feature(request, rows)))

    @extend_schema(request=WindowBody, responses={201: WindowAnswer}, operation_id="create_window")
    def post(self, request: Request) -> Response:
        """A new window; with `open`, it is opened at once. Either both happen, or nothing."""
        body = read(WindowBody, request)
        actor, now, at_once = actor_of(request), timezone.now(), body.pop("open")
        with transaction.atomic():
            window = windows.create_window(body.pop("feature"), actor=actor, now=now, **body)
            if at_once:
                windows.open_window(window.pk, actor=actor, now=now, reason=body["reason"])
        return created(request, window_answer(window.pk), window.pk)


class WindowView(APIView):
    @extend_schema(responses=WindowAnswer, operation_id="get_window")
    def get(self, request: Request, id: int) -> Response:
        """One window; its report stands here soon after it was closed."""
        return window_answer(id)


class OpenWindowView(APIView):
    @extend_schema(request=ReasonBody, responses=WindowAnswer, operation_id="open_window")
    def post(self, request: Request, id: int) -> Response:
        """From now on, people who have the feature bring in those they call."""
        windows.open_window(id, **reasoned(request))
        return window_answer(id)


class CloseWindowView(APIView):
    commits_itself = True  # so that the close is certain before it is acknowledged

    @extend_schema(request=ReasonBody, responses=WindowAnswer, operation_id="close_window")
    def post(self, request: Request, id: int) -> Response:
        """When this answers, nobody is granted through the window any more. Who came in keeps the feature."""
        windows.close_window(id, **reasoned(request))
        return window_answer(id)
