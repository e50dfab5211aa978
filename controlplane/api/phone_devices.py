"""The devices of the person who asks: this one describes itself, and all are listed, renamed and signed out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.accounts.actions import devices
from controlplane.accounts.models import Device
from controlplane.api import phone_bodies as bodies
from controlplane.api.phones import NOTHING, PhoneView, about_device, fresh, me
from controlplane.base.refusal import BadInput
from controlplane.rest.bodies import read


class MyDeviceView(PhoneView):
    @extend_schema(request=bodies.DeviceChangesBody, responses=bodies.MyDeviceAnswer, operation_id="describe_my_device")
    def patch(self, request: Request) -> Response:
        """What changed about this phone since it registered. Its next access token carries it."""
        said = read(bodies.DeviceChangesBody, request)
        if not said:
            raise BadInput("Say at least one thing that changed, such as app_version.")
        device = me(request)
        devices.describe_device(device, said)
        device.refresh_from_db()
        return fresh(about_device(device))


class MyDevicesView(PhoneView):
    @extend_schema(responses=bodies.MyDevicesAnswer, operation_id="list_my_devices")
    def get(self, request: Request) -> Response:
        """Every phone and browser that is signed in with this person's number, the last seen first."""
        asking = me(request)
        listed = devices.listed_devices(asking.subscriber_id)
        rows = Device.objects.live().filter(subscriber_id=asking.subscriber_id).order_by("-seen_at", "id")
        return fresh({"devices": [_one(device, asking, device.id in listed) for device in rows]})


class OneOfMyDevicesView(PhoneView):
    @extend_schema(request=bodies.LabelBody, responses=bodies.MyDeviceAnswer, operation_id="rename_my_device")
    def patch(self, request: Request, device: UUID) -> Response:
        """What the device is called, for its owner to tell it from others."""
        said = read(bodies.LabelBody, request)
        found = devices.live_device_of(me(request).subscriber_id, device)
        devices.describe_device(found, said)
        found.refresh_from_db()
        return fresh(about_device(found))

    @extend_schema(request=None, responses={204: NOTHING}, operation_id="revoke_my_device")
    def delete(self, request: Request, device: UUID) -> Response:
        """Signs the device out: within a second its tokens are refused, its sockets close and it rings no more."""
        found = devices.live_device_of(me(request).subscriber_id, device)
        devices.revoke_device(found.id, now=timezone.now())
        return Response(status=204)


def _one(device: Device, asking: Device, listed: bool) -> dict[str, Any]:
    times = {"created_at": device.created_at, "seen_at": device.seen_at}
    return {**about_device(device), **times, "this": device.id == asking.id, "listed": listed}
