"""Signed device lists as they are stored."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
import structlog.testing
from nacl.signing import SigningKey

from controlplane.accounts.actions.devices import current_list, put_device_list, revoke_device
from controlplane.accounts.errors import DeviceListRefused, DeviceListStale, DeviceNotListed
from controlplane.accounts.models import Device, DeviceList, Subscriber
from controlplane.accounts.rules.device_list import SIGNED_AS
from tests import builders
from tests.builders import NOON

pytestmark = pytest.mark.django_db

KEY, NEW_KEY = SigningKey(b"a" * 32), SigningKey(b"b" * 32)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def list_of(
    subscriber: Subscriber, *devices: Device, epoch: int = 1, previous: bytes | None = None, key: SigningKey = KEY
) -> bytes:
    entries = [
        {"id": str(device.id), "ed25519": b64(bytes(device.ed25519)), "x25519": b64(bytes(device.x25519))}
        for device in sorted(devices, key=lambda device: str(device.id))
    ]
    content = {
        "v": 1,
        "subscriber": str(subscriber.id),
        "account_key": b64(bytes(key.verify_key)),
        "epoch": epoch,
        "previous": b64(hashlib.sha256(previous).digest()) if previous else "",
        "devices": entries,
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def put(device: Device, body: bytes, *, key: SigningKey = KEY) -> int:
    return put_device_list(body, signature=key.sign(SIGNED_AS + body).signature, device=device, now=NOON)


@pytest.fixture
def alice() -> Subscriber:
    return builders.subscriber(name="Alice")


def test_lists__each_following_the_last__are_stored_in_their_bytes(alice: Subscriber) -> None:
    phone, tablet = builders.device(alice), builders.device(alice)
    first = list_of(alice, phone)
    second = list_of(alice, phone, tablet, epoch=2, previous=first)

    assert (put(phone, first), put(phone, second)) == (1, 2)

    assert [bytes(row.body) for row in DeviceList.objects.order_by("epoch")] == [first, second]
    row = current_list(alice.id)
    assert row is not None
    assert row.epoch == 2


def test_list__sent_again__is_answered_the_same_and_stored_once(alice: Subscriber) -> None:
    phone = builders.device(alice)
    body = list_of(alice, phone)

    assert (put(phone, body), put(phone, body)) == (1, 1)

    assert DeviceList.objects.count() == 1


def test_list__that_does_not_follow__is_refused_and_says_what_to_follow(alice: Subscriber) -> None:
    phone = builders.device(alice)
    first = list_of(alice, phone)
    put(phone, first)

    with pytest.raises(DeviceListStale) as refused:
        put(phone, list_of(alice, phone, epoch=3, previous=first))

    assert refused.value.extra == {"epoch": 1, "previous": b64(hashlib.sha256(first).digest())}


@pytest.mark.parametrize("whose", ["revoked", "stranger"])
def test_list__with_a_device_that_is_not_ones_own__is_refused(alice: Subscriber, whose: str) -> None:
    phone = builders.device(alice)
    other = builders.device(alice if whose == "revoked" else builders.subscriber())
    if whose == "revoked":
        revoke_device(other.id, now=NOON)

    with pytest.raises(DeviceListRefused):
        put(phone, list_of(alice, phone, other))

    assert put(phone, list_of(alice, phone)) == 1


def test_account_key__of_who_registers_anew__is_taken_and_recorded(alice: Subscriber) -> None:
    phone, second = builders.device(alice), builders.device(alice)
    first = list_of(alice, phone)
    put(phone, first)
    following = list_of(alice, second, epoch=2, previous=first, key=NEW_KEY)

    with pytest.raises(DeviceNotListed):
        put(second, following, key=NEW_KEY)
    revoke_device(phone.id, now=NOON)
    with structlog.testing.capture_logs() as logged:
        epoch = put(second, following, key=NEW_KEY)

    assert epoch == 2
    assert [event["event"] for event in logged] == ["account_key.changed"]


def test_list__by_another_account_key_while_its_devices_stand__is_refused(alice: Subscriber) -> None:
    phone = builders.device(alice)
    first = list_of(alice, phone)
    put(phone, first)

    with pytest.raises(DeviceListRefused):
        put(phone, list_of(alice, phone, epoch=2, previous=first, key=NEW_KEY), key=NEW_KEY)

    assert DeviceList.objects.count() == 1


def test_lists__of_two_people__have_chains_of_their_own(alice: Subscriber) -> None:
    bob: Any = builders.subscriber(name="Bob")

    phones = [builders.device(alice), builders.device(bob)]

    assert [put(phone, list_of(phone.subscriber, phone)) for phone in phones] == [1, 1]
