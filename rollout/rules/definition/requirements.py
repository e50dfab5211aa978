"""Requirements: what a phone must be before a feature can run on it.

    {"platforms": {"android": {"app": "2.12.0", "os": "4.0"}, "ios": {}}, "others": "refuse", "device_classes": ["mid"]}

`platforms` names the lowest app and operating-system version of each platform; `others` says what happens to platforms
that are not named (`refuse` when any is named, `allow` when none is). A missing or malformed trait is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controlplane.accounts.rules.traits import DeviceClass
from rollout.rules.definition import reading, semver
from rollout.rules.definition.reading import Invalid, under


@dataclass(frozen=True, slots=True)
class Lowest:
    """The lowest versions of one platform; an empty text asks for none."""

    app: str = ""
    os: str = ""


@dataclass(frozen=True, slots=True)
class Requirements:
    platforms: Mapping[str, Lowest]
    device_classes: frozenset[str]
    others_allowed: bool

    def __bool__(self) -> bool:
        """Whether anything is required."""
        return bool(self.platforms or self.device_classes or not self.others_allowed)


class Unmet(StrEnum):
    UPDATE_REQUIRED = "update_required"
    OS_UPDATE_REQUIRED = "os_update_required"
    DEVICE_UNSUPPORTED = "device_unsupported"


def parse_requirements(raw: Any, path: str) -> Requirements:
    """Raises `Invalid` with the path of the first fault."""
    raw = reading.mapping(raw, path, known=frozenset({"platforms", "device_classes", "others"}))
    where = under(path, "platforms")
    platforms = {}
    for name, versions in reading.named(raw.get("platforms", {}), where, most=32).items():
        here = under(where, name)
        versions = reading.mapping(versions, here, known=frozenset({"app", "os"}))
        platforms[name] = Lowest(**{part: _version(versions[part], under(here, part)) for part in versions})
    where = under(path, "device_classes")
    classes = reading.items(raw.get("device_classes", []), where, most=len(DeviceClass))
    others = reading.choice(
        raw.get("others", "refuse" if platforms else "allow"), under(path, "others"), ("allow", "refuse")
    )
    return Requirements(
        platforms=platforms,
        device_classes=frozenset(
            reading.choice(each, under(where, i), list(DeviceClass)) for i, each in enumerate(classes)
        ),
        others_allowed=others == "allow",
    )


def _version(raw: Any, path: str) -> str:
    written = reading.text(raw, path, most=64)
    if written and semver.loose(written) is None:
        raise Invalid(path, "expected a version such as 2.12.0.")
    return written


def unmet(requirements: Requirements, traits: Mapping[str, Any]) -> tuple[Unmet, str] | None:
    """The first requirement that these traits don't meet, with what is needed in words or as a version; None if all."""
    platform = traits.get("platform")
    lowest = requirements.platforms.get(platform) if isinstance(platform, str) else None
    if lowest is None and not requirements.others_allowed:
        return Unmet.DEVICE_UNSUPPORTED, "platform"
    if requirements.device_classes and not of_class(traits.get("device_class"), requirements.device_classes):
        return Unmet.DEVICE_UNSUPPORTED, "device_class"
    if lowest is not None and not reaches(traits.get("os_version"), lowest.os):
        return Unmet.OS_UPDATE_REQUIRED, lowest.os
    if lowest is not None and not reaches(traits.get("app_version"), lowest.app):
        return Unmet.UPDATE_REQUIRED, lowest.app
    return None


def of_class(raw: Any, classes: frozenset[str]) -> bool:
    return isinstance(raw, str) and raw in classes


def reaches(raw: Any, lowest: str) -> bool:
    if not lowest:
        return True
    bound = semver.loose(lowest)
    version = semver.loose(raw) if isinstance(raw, str) else None
    return bound is not None and version is not None and version >= bound
