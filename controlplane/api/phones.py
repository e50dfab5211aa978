"""The phones' REST on the web: registration, tokens, device lists, and what people choose for themselves."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.accounts.actions import devices, leaving, registration, subscribers, tokens
from controlplane.accounts.actions.tokens import Session
from controlplane.accounts.models import Device
from controlplane.api import phone_bodies as bodies
from controlplane.api.claims import rollout_claims
from controlplane.audit.record import Actor
from controlplane.base import base64url
from controlplane.base.refusal import NotFound
from controlplane.rest.authentication import IsPhone, PhoneToken, client_address
from controlplane.rest.bodies import read
from rollout.actions.grants import leave_tombstones

NOTHING = OpenApiResponse(description="Done")


class OpenView(APIView):
    """For phones that have no token yet."""

    authentication_classes = []
    permission_classes = []


class PhoneView(APIView):
    """For signed-in phones; `request.user` is the Device."""

    authentication_classes = [PhoneToken]
    permission_classes = [IsPhone]


class RegistrationView(OpenView):
    @extend_schema(request=bodies.RegistrationBody, responses={202: bodies.ChallengeAnswer}, operation_id="register")
    def post(self, request: Request) -> Response:
        """Sends a one-time code to the number. The answer is the same for numbers that are known and that aren't."""
        sent = read(bodies.RegistrationBody, request)
        challenge = registration.begin(sent["phone"], address=client_address(request), now=timezone.now())
        answer: dict[str, Any] = {
            "challenge": str(challenge.id),
            "phone": challenge.phone,
            "expires_in": challenge.expires_in,
            "resend_after": challenge.resend_after,
        }
        if settings.ENV.demonstration:
            answer["demonstration_code"] = challenge.code
        return fresh(answer, status=202)


class VerifyView(OpenView):
    @extend_schema(request=bodies.VerifyBody, responses=bodies.SessionAnswer, operation_id="verify")
    def post(self, request: Request) -> Response:
        """Signs the phone in with the code: as the number's subscriber, or as a new one. Other phones of it end."""
        body = bodies.VerifyBody(data=request.data)
        body.is_valid(raise_exception=True)
        session = registration.verify(
            body.validated_data["challenge"],
            code=body.validated_data["code"],
            device=body.as_device(),
            carrier=body.validated_data.get("carrier", ""),
            address=client_address(request),
            claims=rollout_claims,
            unlink=leave_tombstones,
            now=timezone.now(),
            account_signature=body.validated_data.get("account_signature", b""),
        )
        return fresh(_session(session))


class RefreshView(OpenView):
    @extend_schema(request=bodies.RefreshBody, responses=bodies.SessionAnswer, operation_id="refresh_token")
    def post(self, request: Request) -> Response:
        """Spends the refresh token for a new pair. The very last refresh may be retried, with the same outcome."""
        sent = read(bodies.RefreshBody, request)
        return fresh(_session(tokens.refresh(sent["refresh_token"], claims=rollout_claims, now=timezone.now())))


class RevokeView(OpenView):
    @extend_schema(request=bodies.RefreshBody, responses={204: NOTHING}, operation_id="revoke_token")
    def post(self, request: Request) -> Response:
        """Signs the phone out, everywhere within a second. The answer is the same for a token that nobody has."""
        sent = read(bodies.RefreshBody, request)
        tokens.revoke(sent["refresh_token"], now=timezone.now())
        return Response(status=204)


class DeviceListView(PhoneView):
    @extend_schema(responses=bodies.DeviceListAnswer, operation_id="read_device_list")
    def get(self, request: Request) -> Response:
        """The list that stands: the next one must have the epoch after it and name its SHA-256."""
        listed = _list_of(me(request))
        if listed is None:
            raise NotFound("No device list was uploaded yet. Begin with epoch 1 and an empty `previous`.")
        return fresh(listed)

    @extend_schema(request=bodies.DeviceListBody, responses=bodies.EpochAnswer, operation_id="put_device_list")
    def put(self, request: Request) -> Response:
        """Stores the next signed device list. Only a device on the list that stands may change it."""
        sent = read(bodies.DeviceListBody, request)
        now = timezone.now()
        epoch = devices.put_device_list(sent["list"], signature=sent["signature"], device=me(request), now=now)
        return fresh({"epoch": epoch})


class MeView(PhoneView):
    @extend_schema(responses=bodies.MeAnswer, operation_id="read_me")
    def get(self, request: Request) -> Response:
        """What is stored of the person who asks, and of this device."""
        return fresh(_about(me(request)))

    @extend_schema(request=bodies.MeBody, responses=bodies.MeAnswer, operation_id="change_me")
    def patch(self, request: Request) -> Response:
        """Changes what people choose for themselves."""
        sent = read(bodies.MeBody, request)
        device = me(request)
        subscribers.set_accepts_invites(device.subscriber_id, accepts=sent["accepts_invites"])
        device.subscriber.refresh_from_db()
        return fresh(_about(device))

    @extend_schema(request=None, responses={204: NOTHING}, operation_id="delete_me")
    def delete(self, request: Request) -> Response:
        """The person leaves for good: number, name, devices and whatever they have are gone. It can't be undone."""
        person = me(request).subscriber_id
        leaving.delete_person(person, unlink=leave_tombstones, actor=Actor.automatic("the person"), now=timezone.now())
        return Response(status=204)


class BlockView(PhoneView):
    @extend_schema(request=None, responses={204: NOTHING}, operation_id="block")
    def put(self, request: Request, subscriber: UUID) -> Response:
        """From now on this subscriber's calls don't ring here, and they can't tell why."""
        subscribers.block(me(request).subscriber_id, blocked_id=subscriber, now=timezone.now())
        return Response(status=204)

    @extend_schema(request=None, responses={204: NOTHING}, operation_id="unblock")
    def delete(self, request: Request, subscriber: UUID) -> Response:
        """Lets this subscriber's calls ring again."""
        subscribers.unblock(me(request).subscriber_id, blocked_id=subscriber)
        return Response(status=204)


def fresh(answer: dict[str, Any], *, status: int = 200) -> Response:
    """Tokens, codes and numbers are for the one who asked: no cache keeps them."""
    return Response(answer, status=status, headers={"Cache-Control": "no-store"})


def _session(session: Session) -> dict[str, Any]:
    return {
        "subscriber": str(session.subscriber),
        "device": str(session.device),
        "access_token": session.access_token,
        "expires_in": session.expires_in,
        "refresh_token": session.refresh_token,
    }


def me(request: Request) -> Device:
    return cast(Device, request.user)


def _list_of(device: Device) -> dict[str, Any] | None:
    row = devices.current_list(device.subscriber_id)
    if row is None:
        return None
    return {
        "epoch": row.epoch,
        "list": base64url.encode(bytes(row.body)),
        "signature": base64url.encode(bytes(row.signature)),
    }


def _about(device: Device) -> dict[str, Any]:
    owner = device.subscriber
    return {
        "subscriber": str(owner.id),
        "phone": settings.KEYS.unseal_phone(bytes(owner.phone_sealed)),
        "name": owner.name,
        "country": owner.country,
        "carrier": owner.carrier,
        "kind": owner.kind,
        "accepts_invites": owner.accepts_invites,
        "joined_at": owner.joined_at,
        "device": about_device(device),
        "device_list": _list_of(device),
        "blocks": [str(blocked) for blocked in owner.blocks.order_by("id").values_list("blocked_id", flat=True)],
    }


def about_device(device: Device) -> dict[str, Any]:
    """What its owner may know of one device."""
    return {
        "id": str(device.id),
        "platform": device.platform,
        "app_version": device.app_version,
        "os_version": device.os_version,
        "device_class": device.device_class,
        "network_class": device.network_class,
        "label": device.label,
    }
