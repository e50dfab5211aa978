"""The server's check of a signed device list, before it is stored and shown to others.

The bytes are canonical JSON (UTF-8, members sorted, no spaces):
`{"account_key","devices":[{"ed25519","id","x25519"}],"epoch","previous","subscriber","v":1}`, keys and hashes in
base64url without padding, devices sorted by id. The account's Ed25519 key signs
`b"rollcall device list v1\\0" + bytes`. Each list names the SHA-256 of the one before. Phones check the same
(`calls/rules/devices.py`); one golden vector pins both.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from controlplane.accounts.errors import DeviceListRefused, DeviceListStale, DeviceNotListed
from controlplane.base import base64url

SIGNED_AS = b"rollcall device list v1\0"
MOST_DEVICES = 32
MOST_BYTES = 16_384
_B64 = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_LIST_FIELDS = {"account_key", "devices", "epoch", "previous", "subscriber", "v"}
_DEVICE_FIELDS = {"ed25519", "id", "x25519"}


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    ed25519: bytes
    x25519: bytes


@dataclass(frozen=True, slots=True)
class SignedList:
    """A list whose form and signature are right; whether it follows the last one is another question."""

    subscriber: UUID
    account_key: bytes
    epoch: int
    previous: bytes
    devices: Mapping[UUID, DeviceKeys]
    body: bytes


def read_signed(body: bytes, signature: bytes) -> SignedList:
    """The list in these bytes. Raises DeviceListRefused unless it is canonical and signed by the key that it names."""
    listed = read_list(body)
    try:
        VerifyKey(listed.account_key).verify(SIGNED_AS + body, signature)
    except (BadSignatureError, ValueError):
        raise DeviceListRefused(
            "The list isn't signed by the account key that it names. Sign its bytes again."
        ) from None
    return listed


def check_owner(listed: SignedList, subscriber: UUID, registered: Mapping[UUID, DeviceKeys]) -> None:
    """Raises DeviceListRefused unless the list is this subscriber's and each device stands in it as it registered."""
    if listed.subscriber != subscriber:
        raise DeviceListRefused("The list names another subscriber than the one who is signed in.")
    for device, keys in listed.devices.items():
        if device not in registered:
            raise DeviceListRefused(f"The list holds the device {device}, which is not one of yours. Leave it out.")
        if registered[device] != keys:
            raise DeviceListRefused(f"The keys of the device {device} differ from those that it registered.")


def check_author(
    listed: SignedList, author: UUID, last: SignedList | None, registered: Mapping[UUID, DeviceKeys]
) -> None:
    """Raises DeviceListRefused or DeviceNotListed unless this device may set this list.

    A list holds its author. It may be changed by a device that stands on it, and keeps its account key. Once none of
    its devices is registered, the number was registered anew: that device begins again, with any account key.
    """
    if author not in listed.devices:
        raise DeviceListRefused("The list must hold the device that sends it.")
    left = {device for device, keys in last.devices.items() if registered.get(device) == keys} if last else set()
    if last is None or not left:
        return
    if author not in left:
        raise DeviceNotListed("This device doesn't stand on the list. One that does must sign a list that holds it.")
    if listed.account_key != last.account_key:
        raise DeviceListRefused("Sign the list with the account key of the list before it.")


def check_follows(listed: SignedList, last: SignedList | None) -> None:
    """Raises DeviceListStale unless the list follows directly upon the last one."""
    epoch = last.epoch if last else 0
    previous = hashlib.sha256(last.body).digest() if last else b""
    if listed.epoch != epoch + 1 or listed.previous != previous:
        raise DeviceListStale(
            f"Sign the list with epoch {epoch + 1} and the hash of the list before it.",
            epoch=epoch,
            previous=base64url.encode(previous),
        )


def read_list(body: bytes) -> SignedList:
    """The list in these bytes, whoever signed it. Raises DeviceListRefused unless it is canonical."""
    if len(body) > MOST_BYTES:
        raise DeviceListRefused(f"A device list has at most {MOST_BYTES} bytes.")
    try:
        value = json.loads(body.decode("utf-8"))
        canonical = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except (ValueError, RecursionError):
        raise DeviceListRefused("The list must be JSON in UTF-8.") from None
    if not isinstance(value, dict) or set(value) != _LIST_FIELDS or value["v"] != 1 or isinstance(value["v"], bool):
        raise DeviceListRefused("The list must have exactly the members of version 1.")
    if canonical != body:
        raise DeviceListRefused("The list must be canonical JSON: members sorted, no spaces, no escapes without need.")
    epoch = value["epoch"]
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 1 <= epoch < 2**31:
        raise DeviceListRefused("The epoch must be a whole number from 1.")
    previous = _unb64(value["previous"])
    if len(previous) != (0 if epoch == 1 else 32):
        raise DeviceListRefused("The list must name the SHA-256 of the one before it, unless it is the first.")
    return SignedList(
        _uuid(value["subscriber"]), _key(value["account_key"]), epoch, previous, _devices(value["devices"]), body
    )


def _devices(entries: Any) -> dict[UUID, DeviceKeys]:
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_DEVICES:
        raise DeviceListRefused(f"A device list holds 1 to {MOST_DEVICES} devices.")
    devices: dict[UUID, DeviceKeys] = {}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) != _DEVICE_FIELDS:
            raise DeviceListRefused("A device in the list has exactly the members ed25519, id and x25519.")
        devices[_uuid(entry["id"])] = DeviceKeys(_key(entry["ed25519"]), _key(entry["x25519"]))
    if len(devices) != len(entries) or list(devices) != sorted(devices, key=str):
        raise DeviceListRefused("The devices must be sorted by id, each named once.")
    return devices


def _uuid(text: Any) -> UUID:
    try:
        value = UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise DeviceListRefused("An id in the list is not a UUID.") from None
    if str(value) != text:
        raise DeviceListRefused("Write ids as lower-case UUIDs with hyphens.")
    return value


def _key(text: Any) -> bytes:
    key = _unb64(text)
    if len(key) != 32:
        raise DeviceListRefused("A key has 32 bytes.")
    return key


def _unb64(text: Any) -> bytes:
    try:
        if isinstance(text, str):
            return base64url.decode(text)
    except ValueError:
        pass
    raise DeviceListRefused("Keys and hashes are written in base64url, without padding or stray bits.")
