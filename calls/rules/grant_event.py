"""What a phone is told when a feature was turned on for its person; the same words on every way it may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES: Mapping[str, str] = {"voice-calls": "Voice calls", "video-calls": "Video calls"}
HOW: Mapping[str, str] = {
    "invite": "because somebody who has it called you",
    "wave": "because it is your turn",
    "operator": "by the people who run this service",
    "seed": "as one of the first",
    "launch": "because it is there for everybody now",
}


def feature_name(feature: str) -> str:
    return NAMES.get(feature, feature)


def grant_event(feature: str, grant: Any, source: str) -> dict[str, Any]:
    """The body of a `grant` event."""
    name = feature_name(feature)
    words = f"{name} were turned on for you" if name.endswith("s") else f"{name} was turned on for you"
    how = f", {HOW[source]}." if source in HOW else "."
    return {"feature": feature, "grant": grant, "source": source, "words": words + how}


def grant_key(grant: Any) -> str:
    """The inbox key of a grant's event: both ways that it may take use the same, so that it comes once."""
    return f"grant:{grant}"
