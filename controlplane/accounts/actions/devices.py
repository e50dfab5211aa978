"""Devices of a subscriber: registering, revoking, and the signed list that says which of them may speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from controlplane.accounts.errors import DeviceRefused, TokenRefused
from controlplane.accounts.models import Device, DeviceList, RefreshToken, Subscriber
from controlplane.accounts.rules.device_list import (
    DeviceKeys,
    SignedList,
    check_author,
    check_follows,
    check_owner,
    read_list,
    read_signed,
)
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import NotFound
from controlplane.outbox.actions import enqueue

log = structlog.get_logger(__name__)

DESCRIBED = ("app_version", "os_version", "network_class", "label")


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What a phone says of itself when it registers."""

    id: UUID
    platform: str
    app_version: str
    os_version: str
    device_class: str
    label: str
    language: str
    ed25519: bytes
    x25519: bytes
    push_service: str = ""
    push_token: str = field(default="", repr=False)


def register_device(new: NewDevice, *, subscriber: Subscriber, now: datetime) -> Device:
    """The device that signed in with the subscriber's number: the only one from now on, every other one has ended.

    Raises DeviceRefused for an id that was used before, by anybody. Call it inside a transaction that has locked the
    subscriber.
    """
    for other in Device.objects.live().filter(subscriber=subscriber).order_by("id"):
        revoke_device(other.id, now=now)
    try:
        with transaction.atomic():
            return Device.objects.create(
                id=new.id,
                subscriber=subscriber,
                platform=new.platform,
                app_version=new.app_version,
                os_version=new.os_version,
                device_class=new.device_class,
                label=new.label,
                push_service=new.push_service,
                push_token_sealed=_sealed(new.push_token),
                ed25519=new.ed25519,
                x25519=new.x25519,
                created_at=now,
                seen_at=now,
            )
    except IntegrityError:
        raise DeviceRefused from None


def describe_device(device: Device, said: Mapping[str, Any]) -> None:
    """The device, and its owner's carrier, as the phone says now; what it doesn't say stays. The next access token
    carries it. `push` is a service and a token, or None for none. Raises TokenRefused once the device has ended.
    """
    values = {name: said[name] for name in DESCRIBED if name in said}
    if "push" in said:
        push = said["push"] or {}
        values |= {"push_service": push.get("service", ""), "push_token_sealed": _sealed(push.get("token", ""))}
    with transaction.atomic():
        # Conditional, so that nothing is written to a device whose end commits meanwhile.
        if values and not Device.objects.live().filter(id=device.id).update(**values):
            raise TokenRefused
        if "carrier" in said:
            Subscriber.objects.filter(id=device.subscriber_id).update(carrier=said["carrier"])


def live_device_of(subscriber_id: UUID, device_id: UUID) -> Device:
    """The subscriber's live device with this id. Raises NotFound, the same for nobody's and for somebody else's."""
    device = Device.objects.live().filter(id=device_id, subscriber_id=subscriber_id).first()
    if device is None:
        raise NotFound("None of this person's devices has this id, or it was signed out already.")
    return device


@transaction.atomic
def sign_out_device(device: Device, *, actor: Actor, now: datetime, reason: str) -> None:
    """An operator ends the device: a lost phone, say."""
    if revoke_device(device.id, now=now):
        subject = f"subscriber:{device.subscriber_id}"
        record("device.revoked", subject=subject, actor=actor, now=now, reason=reason, detail={"device": device.id})


def revoke_device(device_id: UUID, *, now: datetime) -> bool:
    """Ends the device for good: its tokens are refused everywhere once the edges hear. False if it had ended before."""
    with transaction.atomic():
        device = Device.objects.select_for_update().live().filter(id=device_id).first()
        if device is None:
            return False
        Device.objects.filter(id=device_id).update(revoked_at=now, push_token_sealed=None)
        RefreshToken.objects.filter(device_id=device_id).delete()
        enqueue(
            "device.revoked",
            key=f"device.revoked:{device_id}",
            payload={"subscriber": str(device.subscriber_id), "device": str(device_id)},
        )
    log.info("device.revoked", device=str(device_id), subscriber=str(device.subscriber_id))
    return True


def put_device_list(body: bytes, *, signature: bytes, device: Device, now: datetime) -> int:
    """Stores the next signed list, sent by this device, and returns its epoch; the one that stands is answered again.

    Raises DeviceListRefused (wrong in itself), DeviceNotListed (the device has no say) and DeviceListStale (doesn't
    follow the last one; says what must be followed).
    """
    listed = read_signed(body, signature)
    owner = device.subscriber_id
    with transaction.atomic():
        Subscriber.objects.select_for_update(no_key=True).get(id=owner)
        last = current_list(owner)
        registered = _registered(owner)
        check_owner(listed, owner, registered)
        last_list = _read(last)
        check_author(listed, device.id, last_list, registered)
        if last is not None and bytes(last.body) == body:
            return last.epoch
        check_follows(listed, last_list)
        DeviceList.objects.create(
            subscriber_id=owner,
            epoch=listed.epoch,
            body=body,
            signature=signature,
            account_key=listed.account_key,
            created_at=now,
        )
    _report(listed, last)
    return listed.epoch


def current_list(subscriber_id: UUID) -> DeviceList | None:
    """The newest list, or None before the first."""
    return DeviceList.objects.filter(subscriber_id=subscriber_id).order_by("-epoch").first()


def listed_devices(subscriber_id: UUID) -> frozenset[UUID]:
    """The ids that stand on the newest list."""
    last = _read(current_list(subscriber_id))
    return frozenset(last.devices) if last else frozenset()


def _registered(subscriber_id: UUID) -> dict[UUID, DeviceKeys]:
    rows = Device.objects.live().filter(subscriber_id=subscriber_id)
    return {device.id: DeviceKeys(bytes(device.ed25519), bytes(device.x25519)) for device in rows}


def _read(last: DeviceList | None) -> SignedList | None:
    return None if last is None else read_list(bytes(last.body))


def _sealed(push_token: str) -> bytes | None:
    return bytes(settings.KEYS.push.encrypt(push_token.encode())) if push_token else None


def _report(listed: SignedList, last: DeviceList | None) -> None:
    subscriber, devices = str(listed.subscriber), len(listed.devices)
    if last is not None and bytes(last.account_key) != listed.account_key:
        log.warning("account_key.changed", subscriber=subscriber, epoch=listed.epoch, devices=devices)
    else:
        log.info("device_list.stored", subscriber=subscriber, epoch=listed.epoch, devices=devices)
