"""What phones send and get: the bodies of registration, tokens, device lists and `me`."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.accounts.actions.devices import NewDevice
from controlplane.accounts.models import DEVICE_CLASS, NETWORK_CLASS, PLATFORM
from controlplane.accounts.rules.traits import DeviceClass
from controlplane.base import base64url
from controlplane.rest.bodies import Body, Typed

B64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


@extend_schema_field(OpenApiTypes.STR)
class Bytes(serializers.Field[bytes, str, str, Any]):
    """Bytes in base64url without padding; of exactly `size`, or of at most `most`."""

    def __init__(self, *, size: int | None = None, most: int = 65_536, **options: Any) -> None:
        super().__init__(**options)
        self.size = size
        self.most = most

    def to_internal_value(self, data: Any) -> bytes:
        if isinstance(data, str) and len(data) > self.most * 4 // 3 + 4:
            raise serializers.ValidationError(f"Send at most {self.most} bytes.")
        try:
            value = base64url.decode(data if isinstance(data, str) else "=")
        except ValueError as error:
            raise serializers.ValidationError("Write the bytes in base64url, without padding or stray bits.") from error
        if self.size is not None and len(value) != self.size:
            raise serializers.ValidationError(f"This must be {self.size} bytes, not {len(value)}.")
        return value

    def to_representation(self, value: bytes) -> str:
        return base64url.encode(bytes(value))


class RegistrationBody(Typed):
    phone = serializers.CharField(max_length=64, help_text="With the country code, in any usual spelling")


class ChallengeAnswer(serializers.Serializer[Any]):
    challenge = serializers.UUIDField()
    phone = serializers.CharField(
        help_text="The number as it was read (E.164): what the phone calls itself from now on"
    )
    expires_in = serializers.IntegerField(help_text="Seconds")
    resend_after = serializers.IntegerField(help_text="Seconds until the number may be sent another code")
    demonstration_code = serializers.CharField(required=False, help_text="The code itself, in a demonstration only")


class PushBody(Typed):
    service = serializers.RegexField(r"\A[a-z0-9_]{1,16}\Z")
    token = serializers.CharField(max_length=4096)


class DeviceBody(Typed):
    id = serializers.UUIDField(help_text="Drawn by the phone, once")
    platform = serializers.ChoiceField(choices=PLATFORM)
    app_version = serializers.CharField(max_length=64)
    os_version = serializers.CharField(max_length=64, allow_blank=True, default="")
    device_class = serializers.ChoiceField(choices=DEVICE_CLASS, default=DeviceClass.MID.value)
    label = serializers.CharField(max_length=64, allow_blank=True, default="")  # type: ignore[assignment]
    language = serializers.RegexField(r"\A([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*)?\Z", max_length=16, default="")
    push = PushBody(required=False, allow_null=True)


CARRIER: dict[str, Any] = {"invalid": "Write it as MCC-MNC, such as 262-03."}


class DeviceChangesBody(Body):
    app_version = serializers.CharField(max_length=64, required=False)
    os_version = serializers.CharField(max_length=64, allow_blank=True, required=False)
    carrier = serializers.RegexField(r"\A[0-9]{3}-[0-9]{2,3}\Z", required=False, error_messages=CARRIER)
    network_class = serializers.ChoiceField(choices=NETWORK_CLASS, allow_blank=True, required=False)
    push = PushBody(required=False, allow_null=True, help_text="How this phone is woken; null for not at all")
    label = serializers.CharField(max_length=64, allow_blank=True, required=False)  # type: ignore[assignment]


class LabelBody(Body):
    label = serializers.CharField(max_length=64, allow_blank=True)  # type: ignore[assignment]


class KeysBody(Typed):
    ed25519 = Bytes(size=32)
    x25519 = Bytes(size=32)


class VerifyBody(Typed):
    challenge = serializers.UUIDField()
    code = serializers.RegexField(r"\A[0-9]{6}\Z", error_messages={"invalid": "A code has six digits."})
    device = DeviceBody()
    keys = KeysBody()
    account_signature = Bytes(
        size=64,
        required=False,
        help_text="Ed25519, by the account key over `rollcall registration v1` with a zero byte, the challenge and the "
        "device (16 bytes each), and both keys: shows that a number that was long silent is still the same person's",
    )
    carrier = serializers.RegexField(r"\A[0-9]{3}-[0-9]{2,3}\Z", required=False, error_messages=CARRIER)

    def as_device(self) -> NewDevice:
        """What the phone said of itself; the body must be valid."""
        sent = self.validated_data
        device, keys, push = sent["device"], sent["keys"], sent["device"].get("push") or {}
        return NewDevice(
            id=device["id"],
            platform=device["platform"],
            app_version=device["app_version"],
            os_version=device["os_version"],
            device_class=device["device_class"],
            label=device["label"],
            language=device["language"],
            ed25519=keys["ed25519"],
            x25519=keys["x25519"],
            push_service=push.get("service", ""),
            push_token=push.get("token", ""),
        )


class SessionAnswer(serializers.Serializer[Any]):
    subscriber = serializers.UUIDField()
    device = serializers.UUIDField()
    access_token = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires")
    refresh_token = serializers.CharField()


class RefreshBody(Typed):
    refresh_token = serializers.CharField(max_length=200)


class DeviceListBody(Typed):
    list = Bytes(most=16_384, help_text="Canonical JSON, in base64url")
    signature = Bytes(size=64, help_text="Ed25519, by the account key")


class DeviceListAnswer(serializers.Serializer[Any]):
    epoch = serializers.IntegerField()
    list = Bytes()
    signature = Bytes()


class EpochAnswer(serializers.Serializer[Any]):
    epoch = serializers.IntegerField()


class MeBody(Typed):
    accepts_invites = serializers.BooleanField(help_text="Whether a call may turn a feature on for this person")


class MyDeviceAnswer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    platform = serializers.CharField()
    app_version = serializers.CharField()
    os_version = serializers.CharField()
    device_class = serializers.CharField()
    network_class = serializers.CharField(allow_blank=True)
    label = serializers.CharField(allow_blank=True)  # type: ignore[assignment]


class OneOfMyDevices(MyDeviceAnswer):
    created_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField(help_text="When it last signed in or refreshed its token")
    this = serializers.BooleanField(help_text="The device that asks")
    listed = serializers.BooleanField(help_text="It stands on the signed device list, and so may call and be called")


class MyDevicesAnswer(serializers.Serializer[Any]):
    devices = OneOfMyDevices(many=True)


class MeAnswer(serializers.Serializer[Any]):
    subscriber = serializers.UUIDField()
    phone = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    country = serializers.CharField()
    carrier = serializers.CharField(allow_blank=True)
    kind = serializers.CharField()
    accepts_invites = serializers.BooleanField()
    joined_at = serializers.DateTimeField()
    device = MyDeviceAnswer()
    device_list = DeviceListAnswer(allow_null=True, help_text="The signed list that stands")
    blocks = serializers.ListField(child=serializers.UUIDField(), help_text="Whom this person blocks")
