"""Audiences over REST: the list, one audience, made, changed, deleted."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import PAGING_BY_KEY, ReasonBody, created, keyed_page, list_of, listed, read
from controlplane.rest.etags import revision_asked, tagged
from rollout.actions import audiences
from rollout.api.shapes import AnyOf, AnyOfShown
from rollout.errors import AudienceUnknown
from rollout.models import Audience
from rollout.questions.audiences import uses
from rollout.rules.definition.reading import KEY_PATTERN, KEY_WORDS


class AudiencePatch(ReasonBody):
    name = serializers.CharField(required=False, max_length=100)
    any_of = AnyOf(required=False)


class AudienceBody(AudiencePatch):
    key = serializers.RegexField(KEY_PATTERN, help_text=KEY_WORDS)
    any_of = AnyOf()


class AudienceAnswer(serializers.ModelSerializer[Audience]):
    any_of = AnyOfShown(read_only=True)

    class Meta:
        model = Audience
        fields = ("key", "name", "any_of", "revision")


class AudienceDetailAnswer(AudienceAnswer):
    used_by = serializers.SerializerMethodField(help_text="Every place that names it")

    class Meta(AudienceAnswer.Meta):
        fields = (*AudienceAnswer.Meta.fields, "used_by")  # type: ignore[assignment]

    def get_used_by(self, audience: Audience) -> list[str]:
        return uses(audience.key)


def answer(audience: Audience) -> Response:
    return tagged(Response(AudienceDetailAnswer(audience).data), audience.revision)


class AudiencesView(APIView):
    @extend_schema(parameters=PAGING_BY_KEY, responses=list_of(AudienceAnswer), operation_id="list_audiences")
    def get(self, request: Request) -> Response:
        """Audiences in the order of their keys."""
        return listed(AudienceAnswer, *keyed_page(request, Audience.objects.all()))

    @extend_schema(request=AudienceBody, responses={201: AudienceDetailAnswer}, operation_id="create_audience")
    def post(self, request: Request) -> Response:
        """A new audience, that rules, waves and other audiences can name."""
        body = read(AudienceBody, request)
        made = audiences.create_audience(body.pop("key"), actor=actor_of(request), now=timezone.now(), **body)
        return created(request, answer(made), made.key)


class AudienceView(APIView):
    @extend_schema(responses=AudienceDetailAnswer, operation_id="get_audience")
    def get(self, request: Request, key: str) -> Response:
        """One audience, and where it is used."""
        audience = Audience.objects.filter(key=key).first()
        if audience is None:
            raise AudienceUnknown(key)
        return answer(audience)

    @extend_schema(request=AudiencePatch, responses=AudienceDetailAnswer, operation_id="change_audience")
    def patch(self, request: Request, key: str) -> Response:
        """Changes what is sent; every feature that uses it decides anew."""
        body = read(AudiencePatch, request, partial=True)
        changed = audiences.change_audience(
            key,
            reason=body.pop("reason", ""),
            changes=body,
            revision=revision_asked(request),
            actor=actor_of(request),
            now=timezone.now(),
        )
        return answer(changed)

    @extend_schema(responses={204: None}, operation_id="delete_audience")
    def delete(self, request: Request, key: str) -> Response:
        """Refused while a rule, a wave or another audience names it."""
        audiences.delete_audience(key, revision=revision_asked(request), actor=actor_of(request), now=timezone.now())
        return Response(status=204)
