"""Subscribers and their devices over REST."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.actions.devices import live_device_of, sign_out_device
from controlplane.accounts.actions.leaving import delete_person, recycle_number
from controlplane.accounts.actions.subscribers import NewPerson, import_people
from controlplane.accounts.models import SUBSCRIBER_KIND, Subscriber
from controlplane.base.refusal import BadInput
from controlplane.rest.authentication import actor_of
from controlplane.rest.bodies import Body, ReasonBody, asked, list_of, listed, number, read
from controlplane.rest.subscribers import find_subscriber
from rollout.actions.grants import leave_tombstones


class NewSubscriber(Body):
    phone = serializers.CharField(max_length=64)
    country = serializers.RegexField(r"\A[A-Z]{2}\Z", required=False, help_text="ISO 3166; usually the number's own")
    carrier = serializers.RegexField(r"\A\d{3}-\d{2,3}\Z", required=False, help_text="MCC-MNC, such as 262-03")
    kind = serializers.ChoiceField(required=False, choices=SUBSCRIBER_KIND)
    name = serializers.CharField(required=False, max_length=100, allow_blank=True)
    traits = serializers.DictField(required=False)


class SubscribersBody(ReasonBody):
    subscribers = serializers.ListField(child=NewSubscriber(), min_length=1, max_length=1000)


class ImportedAnswer(Body):
    subscribers = serializers.DictField(child=serializers.UUIDField(), help_text="Ids by the numbers as they were sent")


class DeviceShown(Body):
    id = serializers.UUIDField()
    label = serializers.CharField()  # type: ignore[assignment]
    platform = serializers.CharField()
    app_version = serializers.CharField()
    os_version = serializers.CharField()
    device_class = serializers.CharField()
    network_class = serializers.CharField(allow_blank=True)
    seen_at = serializers.DateTimeField()
    revoked_at = serializers.DateTimeField(allow_null=True)


class GrantShown(Body):
    id = serializers.IntegerField()
    feature = serializers.CharField(source="feature.key")
    source = serializers.CharField()  # type: ignore[assignment]
    state = serializers.CharField()
    depth = serializers.IntegerField()
    granted_at = serializers.DateTimeField()


class SubscriberAnswer(serializers.ModelSerializer[Subscriber]):
    class Meta:
        model = Subscriber
        fields = ("id", "name", "country", "carrier", "kind", "language", "traits", "accepts_invites", "joined_at")


class SubscriberDetailAnswer(SubscriberAnswer):
    devices = DeviceShown(many=True)
    grants = GrantShown(many=True)

    class Meta(SubscriberAnswer.Meta):
        fields = (*SubscriberAnswer.Meta.fields, "devices", "grants")  # type: ignore[assignment]


class SubscribersView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("limit", int, description="How many at most: 1 to 1000; usually 100"),
            OpenApiParameter("after", UUID, description="Go on after this subscriber, as `next` does"),
        ],
        responses=list_of(SubscriberAnswer),
        operation_id="list_subscribers",
    )
    def get(self, request: Request) -> Response:
        """Subscribers in the order in which they joined. No numbers: those are stored sealed."""
        limit = number(request, "limit", usual=100, least=1, most=1000)
        rows = Subscriber.objects.order_by("pk")
        if after := asked(request, "after"):
            try:
                rows = rows.filter(pk__gt=UUID(after))
            except ValueError:
                raise BadInput("after must be a subscriber's id.", path="after") from None
        page = list(rows[: limit + 1])
        address = f"{request.build_absolute_uri(request.path)}?limit={limit}&after="
        return listed(SubscriberAnswer, page[:limit], address + str(page[limit - 1].pk) if page[limit:] else None)

    @extend_schema(request=SubscribersBody, responses={201: ImportedAnswer}, operation_id="import_people")
    def post(self, request: Request) -> Response:
        """Brings in people that the messenger knows already. Who is known keeps their row. All of them, or nobody."""
        body = read(SubscribersBody, request)
        people = [NewPerson(**each) for each in body["subscribers"]]
        ids = import_people(people, actor=actor_of(request), now=timezone.now(), reason=body["reason"])
        return Response({"subscribers": {phone: str(id) for phone, id in ids.items()}}, status=201)


class SubscriberView(APIView):
    @extend_schema(responses=SubscriberDetailAnswer, operation_id="get_subscriber")
    def get(self, request: Request, named: str) -> Response:
        """One subscriber by id or number, with devices and grants."""
        person = find_subscriber(named)
        shown: Any = Subscriber.objects.prefetch_related("devices", "grants__feature").get(pk=person.pk)
        answer: dict[str, Any] = dict(SubscriberAnswer(shown).data)
        answer["devices"] = DeviceShown(shown.devices.all(), many=True).data
        answer["grants"] = GrantShown(shown.grants.all(), many=True).data
        return Response(answer)

    @extend_schema(request=None, responses={204: None}, operation_id="delete_subscriber")
    def delete(self, request: Request, named: str) -> Response:
        """Erases a person: number, name, traits, keys, devices and tokens. The invite graph keeps an empty place."""
        person = find_subscriber(named).pk
        delete_person(person, unlink=leave_tombstones, actor=actor_of(request), now=timezone.now())
        return Response(status=204)


class RevokeDeviceView(APIView):
    @extend_schema(request=ReasonBody, responses=DeviceShown, operation_id="revoke_device")
    def post(self, request: Request, named: str, device: UUID) -> Response:
        """Signs one of a subscriber's devices out: a lost phone, say. Within a second it is heard and rung no more."""
        reason = read(ReasonBody, request)["reason"]
        found = live_device_of(find_subscriber(named).pk, device)
        sign_out_device(found, actor=actor_of(request), now=timezone.now(), reason=reason)
        found.refresh_from_db()
        return Response(DeviceShown(found).data)


class RecycleView(APIView):
    @extend_schema(request=ReasonBody, responses=SubscriberAnswer, operation_id="recycle_number")
    def post(self, request: Request, named: str) -> Response:
        """The number belongs to somebody else now: answers the new person, to whom nothing of the old one shows."""
        reason = read(ReasonBody, request)["reason"]
        old = find_subscriber(named).pk
        new = recycle_number(old, unlink=leave_tombstones, actor=actor_of(request), now=timezone.now(), reason=reason)
        return Response(SubscriberAnswer(new).data)
