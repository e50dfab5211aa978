"""The server's check of device lists: the golden vector that phones check too, and everything that it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from calls.rules import devices as phones_rule
from controlplane.accounts.errors import DeviceListRefused, DeviceListStale, DeviceNotListed
from controlplane.accounts.rules.device_list import (
    SIGNED_AS,
    DeviceKeys,
    SignedList,
    check_author,
    check_follows,
    check_owner,
    read_signed,
)

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "device_list.json").read_text())
ALICE = UUID("018f2f6e-0000-7000-8000-00000000000a")
KEY = SigningKey(hashlib.sha256(b"alice").digest())


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def value(**changes: Any) -> dict[str, Any]:
    device = {"id": str(UUID(int=7)), "ed25519": b64(b"e" * 32), "x25519": b64(b"x" * 32)}
    whole = {"v": 1, "subscriber": str(ALICE), "account_key": b64(bytes(KEY.verify_key)), "epoch": 1, "previous": ""}
    return {**whole, "devices": [device], **changes}


def as_bytes(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def signed(body: bytes) -> bytes:
    return KEY.sign(SIGNED_AS + body).signature


def read(content: Any) -> SignedList:
    body = as_bytes(content)
    return read_signed(body, signed(body))


@pytest.mark.parametrize("golden", VECTOR["lists"])
def test_golden_list__is_read_the_same__by_server_and_phone(golden: dict[str, Any]) -> None:
    body, signature = unb64(golden["body"]), unb64(golden["signature"])

    server, phone = read_signed(body, signature), phones_rule.verify(body, signature)

    assert phones_rule.sign(body, unb64(VECTOR["account_seed"])) == signature
    assert server.epoch == phone.epoch == golden["epoch"]
    assert [str(id) for id in server.devices] == [device.id for device in phone.devices] == golden["devices"]
    assert server.account_key == phone.account_key
    assert hashlib.sha256(body).digest() == phones_rule.digest(body) == unb64(golden["sha256"])


def test_golden_lists__follow_each_other__for_server_and_phone() -> None:
    one, two = (read_signed(unb64(g["body"]), unb64(g["signature"])) for g in VECTOR["lists"])

    check_follows(one, None)
    check_follows(two, one)
    phones_rule.check_successor(phones_rule.parse(two.body), one.body)


def spaced(body: bytes) -> bytes:
    return body.replace(b",", b", ", 1)


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        value(v=2),
        value(v=True),
        value(more=1),
        value(epoch=0),
        value(epoch=True),
        value(epoch=1.0),
        value(epoch=2**31),
        value(epoch=2),
        value(previous=b64(bytes(32))),
        value(previous=None),
        value(epoch=2, previous=b64(bytes(31))),
        value(account_key=b64(bytes(31))),
        value(account_key="="),
        value(subscriber="me"),
        value(subscriber=str(ALICE).upper()),
        value(subscriber=7),
        value(devices=[]),
        value(devices=[{}]),
        value(devices=value()["devices"] * 2),
        value(devices=[{**value()["devices"][0], "id": str(UUID(int=n))} for n in (9, 8)]),
        value(devices=[{**value()["devices"][0], "id": str(UUID(int=n))} for n in range(33)]),
        value(devices=[{**value()["devices"][0], "more": 1}]),
    ],
)
def test_list__with_a_wrong_member__is_refused(content: Any) -> None:
    read(value())

    with pytest.raises(DeviceListRefused):
        read(content)


@pytest.mark.parametrize(
    "spoil",
    [
        spaced,
        lambda body: body + b"\n",
        lambda body: body[:-1],
        lambda body: body.replace(b'"v":1', b'"v":1,"v":1'),
        lambda body: body.replace(b"epoch", b"\\u0065poch"),
        lambda body: b"\xff" + body,
        lambda body: b"[" * 16_000,
        lambda body: body + b" " * 16_384,
    ],
)
def test_list__in_another_form__is_refused_though_signed(spoil: Callable[[bytes], bytes]) -> None:
    body = spoil(as_bytes(value()))

    with pytest.raises(DeviceListRefused):
        read_signed(body, signed(body))


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63)])
def test_list__with_a_wrong_signature__is_refused(signature: bytes) -> None:
    with pytest.raises(DeviceListRefused):
        read_signed(as_bytes(value()), signature)


def test_list__signed_by_another_key__is_refused() -> None:
    body = as_bytes(value(account_key=b64(bytes(SigningKey.generate().verify_key))))

    with pytest.raises(DeviceListRefused):
        read_signed(body, signed(body))


KEYS = DeviceKeys(b"e" * 32, b"x" * 32)


@pytest.mark.parametrize(
    ("subscriber", "registered", "fits"),
    [
        (ALICE, {UUID(int=7): KEYS}, True),
        (ALICE, {UUID(int=7): KEYS, UUID(int=8): KEYS}, True),
        (UUID(int=1), {UUID(int=7): KEYS}, False),
        (ALICE, {}, False),
        (ALICE, {UUID(int=7): DeviceKeys(b"e" * 32, b"y" * 32)}, False),
        (ALICE, {UUID(int=7): DeviceKeys(b"f" * 32, b"x" * 32)}, False),
    ],
)
def test_owner__is_who_registered_these_devices__with_these_keys(
    subscriber: UUID, registered: dict[UUID, DeviceKeys], fits: bool
) -> None:
    listed = read(value())

    if fits:
        check_owner(listed, subscriber, registered)
    else:
        with pytest.raises(DeviceListRefused):
            check_owner(listed, subscriber, registered)


PHONE, TABLET, STRANGE = UUID(int=7), UUID(int=8), UUID(int=9)
KEYS = DeviceKeys(b"e" * 32, b"x" * 32)
NEW_KEYS = DeviceKeys(b"n" * 32, b"x" * 32)


def listing(*devices: UUID, key: bytes = b"k", epoch: int = 3) -> SignedList:
    return SignedList(ALICE, key * 32, epoch, b"", dict.fromkeys(devices, KEYS), f"list {epoch}".encode())


LAST = listing(PHONE, TABLET)


@pytest.mark.parametrize(
    ("author", "listed", "last", "registered", "refusal"),
    [
        (PHONE, listing(PHONE), None, [PHONE], None),
        (PHONE, listing(TABLET), None, [PHONE, TABLET], DeviceListRefused),
        (PHONE, listing(PHONE), LAST, [PHONE, TABLET], None),
        (TABLET, listing(PHONE, TABLET), LAST, [PHONE, TABLET], None),
        (PHONE, listing(TABLET), LAST, [PHONE, TABLET], DeviceListRefused),
        (PHONE, listing(PHONE, key=b"n"), LAST, [PHONE, TABLET], DeviceListRefused),
        (STRANGE, listing(STRANGE), LAST, [PHONE, STRANGE], DeviceNotListed),
        (STRANGE, listing(STRANGE, key=b"n"), LAST, [PHONE, STRANGE], DeviceNotListed),
        (STRANGE, listing(STRANGE, key=b"n"), LAST, [STRANGE], None),
        (STRANGE, listing(STRANGE), LAST, [STRANGE], None),
        (STRANGE, listing(PHONE, key=b"n"), LAST, [STRANGE], DeviceListRefused),
    ],
)
def test_list__is_changed_by_a_listed_device_with_its_account_key__or_begun_again_once_all_have_ended(
    author: UUID, listed: SignedList, last: SignedList | None, registered: list[UUID], refusal: type[Exception] | None
) -> None:
    keys = dict.fromkeys(registered, KEYS)

    if refusal is None:
        check_author(listed, author, last, keys)
        return
    with pytest.raises(refusal):
        check_author(listed, author, last, keys)


def test_device__whose_keys_differ_from_the_list__is_not_on_it() -> None:
    with pytest.raises(DeviceNotListed):
        check_author(listing(PHONE), PHONE, LAST, {PHONE: NEW_KEYS, TABLET: KEYS})


AFTER = hashlib.sha256(LAST.body).digest()


@pytest.mark.parametrize(
    ("epoch", "previous", "last", "fits"),
    [
        (1, b"", None, True),
        (2, b"d" * 32, None, False),
        (4, AFTER, LAST, True),
        (4, b"e" * 32, LAST, False),
        (3, AFTER, LAST, False),
        (5, AFTER, LAST, False),
        (1, b"", LAST, False),
    ],
)
def test_list__follows_the_last_one__directly(epoch: int, previous: bytes, last: SignedList | None, fits: bool) -> None:
    listed = read(value(epoch=epoch, previous=b64(previous)))

    if fits:
        check_follows(listed, last)
        return
    with pytest.raises(DeviceListStale) as refused:
        check_follows(listed, last)
    assert refused.value.extra["epoch"] == (last.epoch if last else 0)
    assert refused.value.extra["previous"] == (b64(AFTER) if last else "")


@given(st.binary(max_size=300), st.binary(max_size=70))
def test_any_bytes__are_refused__and_never_an_error(body: bytes, signature: bytes) -> None:
    with pytest.raises(DeviceListRefused):
        read_signed(body, signature)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(value())), json_values)
def test_any_member__with_any_value__is_read_or_refused(name: str, content: Any) -> None:
    try:
        read(value(**{name: content}))
    except DeviceListRefused:
        return
    except UnicodeEncodeError:  # a lone surrogate can't be written by the test itself
        return
