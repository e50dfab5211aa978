"""What a decision may know of a person and the phone in their hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class SubscriberKind(StrEnum):
    PERSON = "person"
    BUSINESS = "business"


class Platform(StrEnum):
    ANDROID = "android"
    IOS = "ios"
    WINDOWS = "windows"
    BLACKBERRY = "blackberry"
    WEB = "web"
    OTHER = "other"


class DeviceClass(StrEnum):
    """How capable a phone is: what it can bear, not what it costs."""

    LOW = "low"
    MID = "mid"
    HIGH = "high"


class NetworkClass(StrEnum):
    G2 = "2g"
    G3 = "3g"
    G4 = "4g"
    G5 = "5g"
    WIFI = "wifi"


@dataclass(frozen=True, slots=True)
class Profile:
    """The facts of a subscriber and one device that become traits."""

    country: str
    carrier: str
    kind: str
    language: str
    joined_at: datetime
    platform: str
    app_version: str
    os_version: str
    device_class: str
    network_class: str
    custom: Mapping[str, Any]


def traits_of(profile: Profile, area: str) -> dict[str, Any]:
    """The traits by name. Custom ones can't take the place of those that every deployment has."""
    return {
        **profile.custom,
        "country": profile.country,
        "carrier": profile.carrier,
        "kind": profile.kind,
        "language": profile.language,
        "joined_at": profile.joined_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "platform": profile.platform,
        "app_version": profile.app_version,
        "os_version": profile.os_version,
        "device_class": profile.device_class,
        "network_class": profile.network_class,
        "area": area,
    }
