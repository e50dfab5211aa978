"""Parsing a large JSON document a piece at a time, so that a process which serves meanwhile can breathe in between."""

from __future__ import annotations

from collections.abc import Generator
from json import JSONDecodeError
from json.decoder import JSONDecoder, scanstring  # type: ignore[attr-defined]  # C code of the standard library
from typing import Any

import orjson

_scan = JSONDecoder().scan_once  # type: ignore[attr-defined]  # absent from the stubs only
_SPACE = " \t\n\r"
Steps = Generator[None, None, Any]


def parse_by_steps(text: str, depth: int = 2) -> Steps:
    """The document, as `orjson.loads` gives it; a step for each member of the members of the outermost object.

    Where a piece ends is found by the standard library's scanner, what it says by orjson, which is stricter. Raises
    `JSONDecodeError` (also orjson's) and `RecursionError`.
    """
    start = _after_space(text, 0)
    if text[start : start + 1] != "{":
        return orjson.loads(text)
    found, end = yield from _members(text, start, depth)
    if _after_space(text, end) != len(text):
        raise JSONDecodeError("more stands behind the document", text, end)
    return found


def _members(text: str, start: int, depth: int) -> Generator[None, None, tuple[dict[str, Any], int]]:
    """The object that begins at `start`, and where it ends."""
    found: dict[str, Any] = {}
    at = _after_space(text, start + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise JSONDecodeError("expected a member's name", text, at)
        _, end = scanstring(text, at + 1, True)
        name = orjson.loads(text[at:end])
        at = _after_space(text, end)
        if text[at : at + 1] != ":":
            raise JSONDecodeError("expected a colon", text, at)
        at = _after_space(text, at + 1)
        if depth > 1 and text[at : at + 1] == "{":
            found[name], at = yield from _members(text, at, depth - 1)
        else:
            found[name], at = _value(text, at)
        yield
        at = _after_space(text, at)
        sign = text[at : at + 1]
        if sign == "}":
            return found, at + 1
        if sign != ",":
            raise JSONDecodeError("expected a comma or the object's end", text, at)
        at = _after_space(text, at + 1)


def _value(text: str, start: int) -> tuple[Any, int]:
    try:
        _, end = _scan(text, start)
    except StopIteration as error:
        raise JSONDecodeError("expected a value", text, start) from error
    return orjson.loads(text[start:end]), end


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
