"""What this deployment is, over REST."""

from __future__ import annotations

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.base.version import VERSION
from controlplane.rest.bodies import Body

INTERVALS = ("token_seconds", "token_grace_seconds", "edge_report_seconds", "poll_seconds", "route_seconds",
             "ring_seconds", "setup_seconds", "accepting_seconds", "alive_seconds")  # fmt: skip


class DeploymentAnswer(Body):
    demonstration = serializers.BooleanField()
    version = serializers.CharField()
    public_url = serializers.URLField()
    intervals = serializers.DictField(child=serializers.FloatField(), help_text="Seconds, by name")


class DeploymentView(APIView):
    @extend_schema(responses=DeploymentAnswer, operation_id="get_deployment")
    def get(self, request: Request) -> Response:
        """What this deployment is, and its intervals."""
        env = settings.ENV
        intervals = {name: float(getattr(env, name)) for name in INTERVALS}
        told = {"demonstration": env.demonstration, "version": VERSION, "public_url": env.public_url}
        return Response({**told, "intervals": intervals})
