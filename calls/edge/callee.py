"""The two people of a call as one query read them: their signed lists, and each device of the called one as a party."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from controlplane.accounts.rules.traits import Profile, traits_of
from controlplane.base import base64url
from rollout.rules.decision.decision import Party
from rollout.serving.party import party_of_row


@dataclass(frozen=True, slots=True)
class Listed:
    """A signed device list that stands: its bytes and signature in base64url, and the ids of its devices."""

    list: str = ""
    signature: str = ""
    devices: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Callee:
    """`parties` holds the live devices that stand in the signed list."""

    parties: Mapping[str, Party]
    listed: Listed


def read_listed(raw: Mapping[str, str] | None) -> Listed:
    """What `calls_device_list` gave; empty before the first list."""
    if raw is None:
        return Listed()
    body = base64.b64decode(raw["body"])
    devices = frozenset(str(device["id"]) for device in orjson.loads(body)["devices"])
    return Listed(base64url.encode(body), base64url.encode(base64.b64decode(raw["signature"])), devices)


def fingerprint(list: str, signature: str) -> str:
    """What a ticket says of the caller's list: equal for the same list with the same signature, in base64url."""
    return hashlib.sha256(f"{list}.{signature}".encode()).hexdigest()


def read_callee(raw: Mapping[str, Any] | None) -> Callee:
    """What `calls_party` gave; nobody, and somebody without a signed list, have no device to call."""
    if raw is None:
        return Callee({}, Listed())
    listed = read_listed(raw["list"])
    parties = {device["id"]: _party(raw, device) for device in raw["devices"] if device["id"] in listed.devices}
    return Callee(parties, listed)


def _party(raw: Mapping[str, Any], device: Mapping[str, Any]) -> Party:
    profile = Profile(
        country=raw["country"],
        carrier=raw["carrier"],
        kind=raw["kind"],
        language=raw["language"],
        joined_at=datetime.fromisoformat(raw["joined_at"]),
        platform=device["platform"],
        app_version=device["app_version"],
        os_version=device["os_version"],
        device_class=device["device_class"],
        network_class=device["network_class"],
        custom=raw["traits"],
    )
    return party_of_row({**raw, "traits": traits_of(profile, raw["area"] or "")})
