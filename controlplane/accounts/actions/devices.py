"""Devices of a subscriber: signing in, revoking, and the signed list that says which of them may speak."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from controlplane.accounts.errors import DeviceRefused
from controlplane.accounts.models import Device, DeviceList, RefreshToken, Subscriber
from controlplane.accounts.rules.device_list import (
    DeviceKeys,
    SignedList,
    Standing,
    check_follows,
    check_owner,
    read_signed,
)
from controlplane.outbox.actions import enqueue

log = structlog.get_logger(__name__)


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


def sign_in_device(new: NewDevice, *, subscriber: Subscriber, now: datetime) -> Device:
    """The subscriber's device with this id, new or as it now describes itself; its earlier sign-ins end.

    Raises DeviceRefused for an id that is somebody else's or was revoked. Call it inside a transaction.
    """
    values = {
        "platform": new.platform,
        "app_version": new.app_version,
        "os_version": new.os_version,
        "device_class": new.device_class,
        "label": new.label,
        "push_service": new.push_service,
        "push_token_sealed": bytes(settings.KEYS.push.encrypt(new.push_token.encode())) if new.push_token else None,
        "ed25519": new.ed25519,
        "x25519": new.x25519,
        "seen_at": now,
    }
    try:
        with transaction.atomic():
            device, created = Device.objects.get_or_create(
                id=new.id, defaults={**values, "subscriber": subscriber, "created_at": now}
            )
    except IntegrityError:
        raise DeviceRefused from None
    if device.subscriber_id != subscriber.id:
        raise DeviceRefused
    if not created:
        # Conditional, so that a revocation that commits meanwhile is not undone.
        if not Device.objects.live().filter(id=device.id).update(**values):
            raise DeviceRefused
        RefreshToken.objects.filter(device=device, revoked_at__isnull=True).update(revoked_at=now)
        device.refresh_from_db()
    device.subscriber = subscriber
    return device


def revoke_device(device_id: UUID, *, now: datetime) -> bool:
    """Ends the device for good: its tokens are refused everywhere once the edges hear. False if it had ended before."""
    with transaction.atomic():
        device = Device.objects.select_for_update().live().filter(id=device_id).first()
        if device is None:
            return False
        Device.objects.filter(id=device_id).update(revoked_at=now, push_token_sealed=None)
        RefreshToken.objects.filter(device_id=device_id, revoked_at__isnull=True).update(revoked_at=now)
        enqueue(
            "device.revoked",
            key=f"device.revoked:{device_id}",
            payload={"subscriber": str(device.subscriber_id), "device": str(device_id)},
        )
    log.info("device.revoked", device=str(device_id), subscriber=str(device.subscriber_id))
    return True


def put_device_list(body: bytes, *, signature: bytes, subscriber_id: UUID, now: datetime) -> int:
    """Stores the next signed list and returns its epoch; the list that stands already is answered the same again.

    Raises DeviceListRefused (wrong in itself) and DeviceListStale (doesn't follow the last one; says what must be
    followed). A list by another account key is taken, and recorded: other phones see the change and say so.
    """
    listed = read_signed(body, signature)
    with transaction.atomic():
        Subscriber.objects.select_for_update(no_key=True).get(id=subscriber_id)
        last = current_list(subscriber_id)
        check_owner(listed, subscriber_id, _registered(subscriber_id))
        if last is not None and bytes(last.body) == body:
            return last.epoch
        check_follows(listed, _standing(last))
        DeviceList.objects.create(
            subscriber_id=subscriber_id,
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


def _registered(subscriber_id: UUID) -> dict[UUID, DeviceKeys]:
    rows = Device.objects.live().filter(subscriber_id=subscriber_id)
    return {device.id: DeviceKeys(bytes(device.ed25519), bytes(device.x25519)) for device in rows}


def _standing(last: DeviceList | None) -> Standing | None:
    if last is None:
        return None
    return Standing(last.epoch, bytes(last.account_key), hashlib.sha256(bytes(last.body)).digest())


def _report(listed: SignedList, last: DeviceList | None) -> None:
    subscriber, devices = str(listed.subscriber), len(listed.devices)
    if last is not None and bytes(last.account_key) != listed.account_key:
        log.warning("account_key.changed", subscriber=subscriber, epoch=listed.epoch, devices=devices)
    else:
        log.info("device_list.stored", subscriber=subscriber, epoch=listed.epoch, devices=devices)
