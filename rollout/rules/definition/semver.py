"""Versions: SemVer 2.0 for clauses, and a looser reading for what operating systems and apps call themselves."""

from __future__ import annotations

import re
from functools import lru_cache

Identifier = tuple[int, int, str]
Version = tuple[tuple[int, int, int, int], int, tuple[Identifier, ...]]

_CORE = r"(0|[1-9][0-9]*)"
_ID = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_STRICT = re.compile(
    rf"{_CORE}\.{_CORE}\.{_CORE}(?:-({_ID}(?:\.{_ID})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z", re.ASCII
)
_LOOSE = re.compile(
    r"[vV]?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:\.([0-9]+))?"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?\Z",
    re.ASCII,
)
LONGEST = 256  # characters, as long as a value in a clause may be; a number in it may have any length


def _identifier(part: str) -> Identifier:
    """SemVer 2.0 §11: numbers compare as numbers and stand below words; words compare by ASCII."""
    if part.isdigit():
        return (0, int(part), "")
    return (1, 0, part)


def _pre_release(raw: str | None) -> tuple[int, tuple[Identifier, ...]]:
    if raw is None:
        return 1, ()  # a release stands above all of its pre-releases
    return 0, tuple(_identifier(part) for part in raw.split("."))


@lru_cache(maxsize=4096)
def strict(raw: str) -> Version | None:
    """A version by SemVer 2.0 as a comparable tuple (build metadata doesn't count), or None when it is none."""
    found = _STRICT.match(raw) if len(raw) <= LONGEST else None
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    return ((int(major), int(minor), int(patch), 0), *_pre_release(pre))


@lru_cache(maxsize=4096)
def loose(raw: str) -> Version | None:
    """One to four numbers with dots (missing ones are 0), an optional v, pre-release and build; else None.

    `4.0`, `10`, `2.12.0-beta.1` and `8.10.14219.341` are what platforms really send.
    """
    found = _LOOSE.match(raw) if len(raw) <= LONGEST else None
    if found is None:
        return None
    a, b, c, d, pre = found.groups()
    return ((int(a), int(b or 0), int(c or 0), int(d or 0)), *_pre_release(pre))
