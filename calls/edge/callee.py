"""The called person as one query read them: each listed device as a party to decide about, and the signed list."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from controlplane.accounts.rules.traits import Profile, traits_of
from rollout.party import party_of_row
from rollout.rules.decision import Party


@dataclass(frozen=True, slots=True)
class Callee:
    """`list` and `signature` are in base64url; `parties` holds the live devices that stand in the signed list."""

    parties: Mapping[str, Party]
    list: str = ""
    signature: str = ""


def read_callee(raw: Mapping[str, Any] | None) -> Callee:
    """What `calls_party` gave; nobody, and somebody without a signed list, have no device to call."""
    if raw is None or raw["list"] is None:
        return Callee({})
    body, signature = base64.b64decode(raw["list"]["body"]), base64.b64decode(raw["list"]["signature"])
    listed = {str(device["id"]) for device in orjson.loads(body)["devices"]}
    parties = {device["id"]: _party(raw, device) for device in raw["devices"] if device["id"] in listed}
    return Callee(parties, _b64url(body), _b64url(signature))


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
        custom=raw["traits"],
    )
    return party_of_row({**raw, "traits": traits_of(profile, raw["area"] or "")})


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
