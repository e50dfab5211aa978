"""Device lists: who signs, what follows upon what, and what we remember."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from calls.rules.blob import canonical
from calls.rules.devices import (
    BadDeviceList,
    Comparison,
    DeviceKeys,
    DeviceList,
    check_successor,
    compare,
    digest,
    parse,
    pin_of,
    safety_number,
    sign,
    verify,
)

ALICE = "018f2f6e-0000-7000-8000-00000000000a"
BOB = "018f2f6e-0000-7000-8000-00000000000b"
DEVICE_1 = "11111111-1111-4111-8111-111111111111"
DEVICE_2 = "22222222-2222-4222-8222-222222222222"


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def account_key(name: str) -> bytes:
    return bytes(SigningKey(seed(name)).verify_key)


def first_list(owner: str = "alice", subscriber: str = ALICE) -> DeviceList:
    device = DeviceKeys(DEVICE_1, seed("ed"), seed("x"))
    return DeviceList(subscriber, account_key(owner), 1, b"", (device,))


def next_list(last: DeviceList, **changes: object) -> DeviceList:
    new = replace(last, epoch=last.epoch + 1, previous=digest(last.as_bytes()))
    return replace(new, **changes)  # type: ignore[arg-type]


def test_bytes__of_a_list__are_pinned() -> None:
    device_2 = DeviceKeys(DEVICE_2, b"\2" * 32, b"\3" * 32)
    device_1 = DeviceKeys(DEVICE_1, b"\0" * 32, b"\xff" * 32)

    body = DeviceList(ALICE, b"\1" * 32, 1, b"", (device_2, device_1)).as_bytes()

    assert body == (
        b'{"account_key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE","devices":[{"ed25519":'
        b'"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","id":"11111111-1111-4111-8111-111111111111","x25519":'
        b'"__________________________________________8"},{"ed25519":"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI",'
        b'"id":"22222222-2222-4222-8222-222222222222","x25519":"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM"}],'
        b'"epoch":1,"previous":"","subscriber":"018f2f6e-0000-7000-8000-00000000000a","v":1}'
    )


def test_verify__own_signature__gives_the_list() -> None:
    listed = first_list()

    assert verify(listed.as_bytes(), sign(listed.as_bytes(), seed("alice"))) == listed


@pytest.mark.parametrize("what", ["other key", "other bytes", "no prefix", "short"])
def test_verify__signature_of_something_else__is_refused(what: str) -> None:
    body = first_list().as_bytes()
    signature = {
        "other key": sign(body, seed("mallory")),
        "other bytes": sign(body + b" ", seed("alice")),
        "no prefix": SigningKey(seed("alice")).sign(body).signature,
        "short": b"x",
    }[what]

    with pytest.raises(BadDeviceList, match="signed"):
        verify(body, signature)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"epoch": 0},
        {"epoch": True},
        {"epoch": 1.0},
        {"epoch": 2},  # names no previous list
        {"previous": "AAAA"},
        {"subscriber": "alice"},
        {"subscriber": ALICE.upper()},
        {"account_key": "AAAA"},
        {"devices": []},
        {"devices": [{"id": DEVICE_1}]},
        {"devices": {}},
        {"more": 1},
    ],
    ids=str,
)
def test_parse__malformed__is_refused(change: dict) -> None:
    value = json.loads(first_list().as_bytes())

    with pytest.raises(BadDeviceList):
        parse(canonical({**value, **change}))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b"[" * 5000, b" " * 20_000])
def test_parse__no_list_at_all__is_refused(body: bytes) -> None:
    with pytest.raises(BadDeviceList):
        parse(body)


def test_parse__not_canonical__is_refused() -> None:
    body = first_list().as_bytes()

    with pytest.raises(BadDeviceList, match="canonical"):
        parse(body.replace(b'"epoch":1', b'"epoch": 1'))
    with pytest.raises(BadDeviceList, match="canonical"):
        parse(body.replace(b'"epoch":1', b'"epoch":1,"epoch":1'))


def test_parse__same_device_twice__is_refused() -> None:
    listed = first_list()

    with pytest.raises(BadDeviceList, match="twice"):
        parse(replace(listed, devices=listed.devices * 2).as_bytes())


def test_successor__of_the_right_list__passes() -> None:
    first = first_list()

    check_successor(first, None)
    check_successor(next_list(first), first.as_bytes())
    check_successor(next_list(first, account_key=account_key("new phone")), first.as_bytes())


@pytest.mark.parametrize(
    "change",
    [{"epoch": 3}, {"epoch": 1}, {"previous": bytes(32)}, {"subscriber": BOB}],
    ids=lambda change: next(iter(change)),
)
def test_successor__broken_chain__is_refused(change: dict) -> None:
    first = first_list()

    with pytest.raises(BadDeviceList):
        check_successor(next_list(first, **change), first.as_bytes())


def test_successor__first_list_with_an_epoch_of_two__is_refused() -> None:
    with pytest.raises(BadDeviceList, match="epoch 1"):
        check_successor(next_list(first_list()), None)


def test_standing__every_way_a_list_can_stand_to_the_last_one() -> None:
    first = first_list()
    second = next_list(first)
    third = next_list(second)
    pin = pin_of(second)

    assert compare(first, None) is Comparison.FIRST_SEEN
    assert compare(second, pin) is Comparison.SAME
    assert compare(third, pin) is Comparison.NEWER
    assert compare(next_list(third), pin) is Comparison.NEWER  # the one between wasn't seen
    assert compare(first, pin) is Comparison.WENT_BACK
    assert compare(replace(second, devices=()), pin) is Comparison.FORKED
    assert compare(replace(second, account_key=account_key("mallory")), pin) is Comparison.KEY_CHANGED
    assert compare(replace(third, previous=bytes(32)), pin) is Comparison.FORKED
    assert compare(replace(third, account_key=account_key("new phone")), pin) is Comparison.KEY_CHANGED


def test_safety_number__either_order__is_the_same_sixty_digits() -> None:
    alice, bob = (account_key("alice"), ALICE), (account_key("bob"), BOB)

    number = safety_number(alice, bob)

    assert number == safety_number(bob, alice)
    assert len(number) == 60
    assert number.isdigit()
    assert number != safety_number((account_key("mallory"), ALICE), bob)
    assert number != safety_number((account_key("alice"), BOB), (account_key("bob"), ALICE))


def test_safety_number__of_known_keys__is_pinned() -> None:
    assert safety_number((b"\1" * 32, ALICE), (b"\2" * 32, BOB)) == PINNED


PINNED = "034379460861011716792232272353351489456874696094030442560934"
