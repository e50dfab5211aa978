"""Codec profiles: how a call sounds on which network.

The bounds are CALLS.md's: on a link of 32 kbit/s a browser's default settings conceal 67 % of the audio, 12 kbit/s at
a constant rate and 60 ms conceal at most 0.3 %. Opus always runs at a constant rate: sizes of encrypted packets of a
variable one give away what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never


class ProfileName(StrEnum):
    XS = "xs"
    S = "s"
    M = "m"
    L = "l"


@dataclass(frozen=True, slots=True)
class Profile:
    """`bitrate` in bit/s of Opus, `frame_ms` per packet; `fec`: forward error correction; `video`: if it fits."""

    name: ProfileName
    bitrate: int
    frame_ms: int
    fec: bool
    video: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "name": str(self.name),
            "codec": "opus",
            "bitrate": self.bitrate,
            "frame_ms": self.frame_ms,
            "cbr": True,
            "fec": self.fec,
            "video": self.video,
        }


def profile(name: ProfileName) -> Profile:
    match name:
        case ProfileName.XS:
            return Profile(name, 8_000, 60, fec=False, video=False)
        case ProfileName.S:
            return Profile(name, 12_000, 60, fec=False, video=False)
        case ProfileName.M:
            return Profile(name, 24_000, 20, fec=True, video=True)
        case ProfileName.L:
            return Profile(name, 32_000, 20, fec=True, video=True)
    assert_never(name)


def for_network(kbit_per_second: int | None) -> Profile:
    """The profile for a link of this rate; an unknown rate counts as a decent mobile network (m)."""
    if kbit_per_second is None:
        return profile(ProfileName.M)
    if kbit_per_second <= 24:
        return profile(ProfileName.XS)
    if kbit_per_second <= 64:
        return profile(ProfileName.S)
    if kbit_per_second <= 512:
        return profile(ProfileName.M)
    return profile(ProfileName.L)
