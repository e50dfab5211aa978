"""Device lists: an account's key signs which devices, with which keys, may speak for it.

A list's bytes are canonical JSON (UTF-8, members sorted, no spaces):
`{"account_key","devices":[{"ed25519","id","x25519"}],"epoch","previous","subscriber","v":1}`, keys and hashes in
base64url without padding, devices sorted by id. The Ed25519 signature covers `b"rollcall device list v1\\0" + bytes`.
Each list names the SHA-256 of the one before (`previous`, empty in the first), and its epoch is one higher.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from calls.rules.blob import BadBlob, b64, canonical, read_json, unb64

SIGNED_AS = b"rollcall device list v1\0"
REGISTRATION_AS = b"rollcall registration v1\0"
SAFETY_AS = b"rollcall safety number v1\0"
SAFETY_ROUNDS = 5200
MOST_DEVICES = 32
MOST_BYTES = 16384


class BadDeviceList(ValueError):
    """The list can't be believed; the message says why."""


class Comparison(StrEnum):
    """How a verified list stands to the one that we remember of this account."""

    FIRST_SEEN = "first_seen"
    SAME = "same"
    NEWER = "newer"
    KEY_CHANGED = "key_changed"
    WENT_BACK = "went_back"
    FORKED = "forked"


@dataclass(frozen=True, slots=True)
class DeviceKeys:
    """The public keys of one device: Ed25519 (signs) and X25519 (its Noise static key), 32 bytes each."""

    id: str
    ed25519: bytes
    x25519: bytes


@dataclass(frozen=True, slots=True)
class DeviceList:
    subscriber: str
    account_key: bytes
    epoch: int
    previous: bytes
    devices: tuple[DeviceKeys, ...]

    def as_bytes(self) -> bytes:
        """The canonical bytes that are signed, hashed and sent."""
        devices = sorted(self.devices, key=lambda device: device.id)
        return canonical(
            {
                "v": 1,
                "subscriber": self.subscriber,
                "account_key": b64(self.account_key),
                "epoch": self.epoch,
                "previous": b64(self.previous),
                "devices": [
                    {"id": device.id, "ed25519": b64(device.ed25519), "x25519": b64(device.x25519)}
                    for device in devices
                ],
            }
        )

    def device(self, device_id: str) -> DeviceKeys | None:
        return next((device for device in self.devices if device.id == device_id), None)


@dataclass(frozen=True, slots=True)
class Pin:
    """What we remember of an account: its key, and the epoch and SHA-256 of the last list that we believed."""

    account_key: bytes
    epoch: int
    digest: bytes


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def sign(body: bytes, account_seed: bytes) -> bytes:
    """The 64-byte signature of a list's bytes by the account's Ed25519 key (32-byte seed)."""
    return SigningKey(account_seed).sign(SIGNED_AS + body).signature


def sign_registration(challenge: str, device: DeviceKeys, account_seed: bytes) -> bytes:
    """Shows, with a challenge's code, that whoever registers this device holds the account's key (32-byte seed)."""
    said = uuid.UUID(challenge).bytes + uuid.UUID(device.id).bytes + device.ed25519 + device.x25519
    return SigningKey(account_seed).sign(REGISTRATION_AS + said).signature


def verify(body: bytes, signature: bytes) -> DeviceList:
    """The list, where it is canonical and signed by the account key that it names. Raises `BadDeviceList`.

    That the key belongs to whom we mean is another question: compare with a `Pin`, or people compare safety numbers.
    """
    listed = parse(body)
    try:
        VerifyKey(listed.account_key).verify(SIGNED_AS + body, signature)
    except (BadSignatureError, ValueError) as error:
        raise BadDeviceList("The device list isn't signed by the account key that it names.") from error
    return listed


def parse(body: bytes) -> DeviceList:
    """Read a list's bytes without believing them. Raises `BadDeviceList`."""
    if len(body) > MOST_BYTES:
        raise BadDeviceList("The device list is too long.")
    try:
        value = read_json(body)
        listed = _read(value)
    except (BadBlob, KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadDeviceList):
            raise
        raise BadDeviceList("The device list can't be read.") from error
    if listed.as_bytes() != body:
        raise BadDeviceList("The device list isn't in its canonical form.")
    return listed


def check_successor(new: DeviceList, last_body: bytes | None) -> None:
    """Raises `BadDeviceList` unless `new` follows directly upon the list with these bytes (None: there is none yet).

    A changed account key doesn't break the chain: it is for the caller of this to make that visible.
    """
    if last_body is None:
        expected, previous = 1, b""
    else:
        last = parse(last_body)
        if last.subscriber != new.subscriber:
            raise BadDeviceList("The device list belongs to somebody else.")
        expected, previous = last.epoch + 1, digest(last_body)
    if new.epoch != expected:
        raise BadDeviceList(f"The device list must have epoch {expected}, not {new.epoch}.")
    if new.previous != previous:
        raise BadDeviceList("The device list doesn't name the hash of the one before it.")


def compare(listed: DeviceList, pin: Pin | None) -> Comparison:
    """How a verified list stands to what we remember. Lists that we missed in between can't be checked.

    Epochs count under one account key only: a lie about the key must not make the true key's lists look old.
    """
    if pin is None:
        return Comparison.FIRST_SEEN
    if listed.account_key != pin.account_key:
        return Comparison.KEY_CHANGED
    if listed.epoch < pin.epoch:
        return Comparison.WENT_BACK
    if listed.epoch == pin.epoch:
        return Comparison.SAME if digest(listed.as_bytes()) == pin.digest else Comparison.FORKED
    if listed.epoch == pin.epoch + 1 and listed.previous != pin.digest:
        return Comparison.FORKED
    return Comparison.NEWER


def pin_of(listed: DeviceList) -> Pin:
    return Pin(listed.account_key, listed.epoch, digest(listed.as_bytes()))


def safety_number(one: tuple[bytes, str], other: tuple[bytes, str]) -> str:
    """Sixty digits for a pair of accounts (key, subscriber id), the same in either order.

    Thirty per account: SHA-512 over prefix, key and subscriber id, then 5,199 times over the last digest and the key;
    six groups of five bytes, each modulo 100,000. The smaller half comes first. (After Signal's numeric fingerprint.)
    """
    return "".join(sorted((_half(*one), _half(*other))))


def _half(account_key: bytes, subscriber: str) -> str:
    value = hashlib.sha512(SAFETY_AS + account_key + subscriber.encode()).digest()
    for _ in range(SAFETY_ROUNDS - 1):
        value = hashlib.sha512(value + account_key).digest()
    groups = (int.from_bytes(value[at : at + 5], "big") % 100_000 for at in range(0, 30, 5))
    return "".join(f"{group:05d}" for group in groups)


def _read(value: Any) -> DeviceList:
    if not isinstance(value, dict) or value.get("v") != 1:
        raise BadDeviceList("The device list has a version that we don't know.")
    entries: Sequence[Any] = value["devices"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_DEVICES:
        raise BadDeviceList(f"A device list holds 1 to {MOST_DEVICES} devices.")
    devices = tuple(DeviceKeys(_uuid(e["id"]), _key(e["ed25519"]), _key(e["x25519"])) for e in entries)
    if len({device.id for device in devices}) != len(devices):
        raise BadDeviceList("The device list names a device twice.")
    epoch = value["epoch"]
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 1 <= epoch < 2**31:
        raise BadDeviceList("The device list's epoch must be a whole number from 1.")
    previous = unb64(value["previous"])
    if len(previous) not in {0, 32} or (epoch == 1) != (not previous):
        raise BadDeviceList("The device list must name the hash of the one before it, unless it is the first.")
    return DeviceList(_uuid(value["subscriber"]), _key(value["account_key"]), epoch, previous, devices)


def _key(text: Any) -> bytes:
    key = unb64(text)
    if len(key) != 32:
        raise BadDeviceList("A key has 32 bytes.")
    return key


def _uuid(text: Any) -> str:
    if not isinstance(text, str) or str(uuid.UUID(text)) != text:
        raise BadDeviceList("An id must be a UUID in its usual form.")
    return text
