"""What a decision may know of a person and the phone in their hand."""

from __future__ import annotations

from enum import StrEnum


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


# The built-in traits that a column each holds; `joined_at` and `area` are made of others. Custom traits can't take
# their place. `rollout_people` puts them together person by person, rollout/questions/people.py in columns.
OWN = ("country", "carrier", "kind", "language")
DEVICE = ("platform", "app_version", "os_version", "device_class", "network_class")
