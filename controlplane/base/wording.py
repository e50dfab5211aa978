"""Text that people read: without characters that hide, or that turn round what stands beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from controlplane.base.refusal import BadInput

# Controls of C0 and C1 but for tab and line ends, and every character of Unicode's property Bidi_Control.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def hidden_in(text: str) -> str:
    """The first such character, as `U+202E`; empty when there is none."""
    found = _HIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


def shown(text: str, path: str) -> str:
    """The text as it is. Raises `BadInput`."""
    if hidden := hidden_in(text):
        raise BadInput(f"{path} holds the invisible character {hidden}: write it without.", path=path)
    return text


def labelled(members: type[StrEnum], labels: Mapping[StrEnum, str] | None = None) -> list[tuple[str, str]]:
    """Each value of a closed set with the words for it: those that are given, otherwise its own."""
    return [(member.value, (labels or {}).get(member, member.value.capitalize())) for member in members]
