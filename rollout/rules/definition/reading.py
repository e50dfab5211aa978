"""Reading untrusted JSON into values: every fault is one `Invalid` that names the path and says what is expected."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.base.wording import hidden_in

KEY_PATTERN = r"\A(?!\.{1,2}\Z)[a-z0-9._-]{1,64}\Z"  # clients take "." and ".." out of addresses
KEY = re.compile(KEY_PATTERN)
KEY_WORDS = "1 to 64 of a-z, 0-9, dot, _ and -, and more than one or two dots"
DEEPEST_VALUE = 16


class Invalid(ValueError):
    """Something in a document can't be used. `path` says where, as in `rules[2].share_ppm`."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path or 'document'}: {why}")
        self.path = path
        self.why = why


def under(path: str, name: str | int) -> str:
    """The path of a member below a path."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def mapping(
    raw: Any, path: str, *, known: frozenset[str], needed: frozenset[str] = frozenset(), strict: bool = True
) -> Mapping[str, Any]:
    """An object whose members are all known, since a mistyped member that is ignored widens silently.

    Not strict, unknown members are ignored: what a later version publishes says by `least_reader` when it must not be.
    """
    if not isinstance(raw, dict):
        raise Invalid(path, "expected an object.")
    strange = sorted(set(raw) - known, key=str) if strict else ()
    if strange:
        raise Invalid(under(path, str(strange[0])[:64]), f"is not known here; known are {', '.join(sorted(known))}.")
    missing = sorted(needed - set(raw))
    if missing:
        raise Invalid(under(path, missing[0]), "is missing.")
    return raw


def named(raw: Any, path: str, *, most: int) -> Mapping[str, Any]:
    """An object from keys (a-z, 0-9, dot, _ and -) to anything, with at most `most` members."""
    if not isinstance(raw, dict):
        raise Invalid(path, "expected an object.")
    if len(raw) > most:
        raise Invalid(path, f"has {len(raw)} members; at most {most} are allowed.")
    for key in raw:
        if not isinstance(key, str) or not KEY.match(key):
            raise Invalid(path, f"has the key {str(key)[:64]!r}: use {KEY_WORDS}.")
    return raw


def items(raw: Any, path: str, *, most: int, least: int = 0) -> Sequence[Any]:
    """A list with `least` to `most` entries."""
    if not isinstance(raw, list):
        raise Invalid(path, "expected a list.")
    if not least <= len(raw) <= most:
        raise Invalid(path, f"has {len(raw)} entries; {least} to {most} are allowed.")
    return raw


def text(raw: Any, path: str, *, most: int = 200, least: int = 0) -> str:
    """A string of `least` to `most` characters."""
    if not isinstance(raw, str):
        raise Invalid(path, "expected a string.")
    if not least <= len(raw) <= most:
        raise Invalid(path, f"has {len(raw)} characters; {least} to {most} are allowed.")
    return raw


def title(raw: Any, path: str, *, most: int = 100, least: int = 0) -> str:
    """A string that people read: it holds no character that hides."""
    found = text(raw, path, most=most, least=least)
    if hidden := hidden_in(found):
        raise Invalid(path, f"holds the invisible character {hidden}: write it without.")
    return found


def key_text(raw: Any, path: str) -> str:
    """A key as features and audiences have it."""
    if not isinstance(raw, str) or not KEY.match(raw):
        raise Invalid(path, f"expected a key: {KEY_WORDS}.")
    return raw


def integer(raw: Any, path: str, *, least: int, most: int) -> int:
    """A whole number; true and false are none."""
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise Invalid(path, "expected a whole number.")
    if not least <= raw <= most:
        raise Invalid(path, f"is {str(raw)[:30]}; {least} to {most} are allowed.")
    return raw


def flag(raw: Any, path: str) -> bool:
    if not isinstance(raw, bool):
        raise Invalid(path, "expected true or false.")
    return raw


def choice(raw: Any, path: str, options: Sequence[str]) -> str:
    if not isinstance(raw, str) or raw not in options:
        raise Invalid(path, f"expected one of {', '.join(options)}.")
    return raw


def plain_value(raw: Any, path: str, depth: int = 0) -> None:
    """Any JSON value that is finite and not deeper than 16 levels; raises `Invalid` otherwise."""
    if depth > DEEPEST_VALUE:
        raise Invalid(path, f"is deeper than {DEEPEST_VALUE} levels.")
    if isinstance(raw, dict):
        for name, member in raw.items():
            if not isinstance(name, str):
                raise Invalid(path, "has a member whose name is not a string.")
            plain_value(member, under(path, name[:64]), depth + 1)
    elif isinstance(raw, list):
        for index, member in enumerate(raw):
            plain_value(member, under(path, index), depth + 1)
    elif isinstance(raw, float):
        if not math.isfinite(raw):
            raise Invalid(path, "is not a finite number.")
        if not -(2**53) < raw < 2**53:  # PostgreSQL would give it back as a whole number
            raise Invalid(path, "is too large: numbers lie between -2^53 and 2^53.")
    elif isinstance(raw, int) and not isinstance(raw, bool):
        if not -(2**53) < raw < 2**53:
            raise Invalid(path, "is a number that JavaScript can't hold exactly.")
    elif raw is not None and not isinstance(raw, str | bool):
        raise Invalid(path, "is not a JSON value.")
