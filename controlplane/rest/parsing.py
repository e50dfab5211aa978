"""How bodies are read: JSON of a bounded size and shape, and every fault with the path of its place."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from controlplane.base.refusal import BadInput, TooLarge

LARGEST_BODY = 2 * 1024 * 1024  # bytes, unless a view says otherwise (`largest_body`)
DEEPEST = 64  # levels of lists and objects
MOST_ENTRIES = 100_000  # of one list or object


class BoundedJSON(BaseParser):
    """Refuses, with the path: what is nested too deeply, too long, not finite, or holds text that can't be stored."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        context = parser_context or {}
        largest = int(getattr(context.get("view"), "largest_body", LARGEST_BODY))
        request = context.get("request")
        announced = request.META.get("CONTENT_LENGTH", "") if request is not None else ""
        if str(announced).isdecimal() and int(announced) > largest:
            raise too_large(int(announced), largest)
        body = stream.read()
        if len(body) > largest:
            raise too_large(len(body), largest)
        document = loads(body)
        if fault := fault_in(document):
            raise faulty(*fault)
        return document


def faulty(path: str, why: str) -> BadInput:
    """In the form of every refused body: the fault and its place, also as a list."""
    refusal = BadInput(f"{path or 'body'}: {why}", path=path)
    refusal.extra["errors"] = [{"path": path, "detail": why}]
    return refusal


def too_large(size: int, largest: int) -> TooLarge:
    return TooLarge(f"The body has {size} bytes; at most {largest} are allowed here. Send less at once.")


def loads(body: bytes) -> Any:
    """The document, also with numbers that are none: `fault_in` names their places. Raises ParseError and BadInput."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "ecursion" in str(error):
            raise BadInput("The body is nested deeper than 1,024 levels.") from error
    else:
        return document
    try:  # it is broken, or holds NaN, 1e309, a lone surrogate or the like
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ParseError from error


def fault_in(document: Any) -> tuple[str, str] | None:
    """The path of the first fault of shape, and what it is; None when there is none."""
    waiting: list[tuple[Any, str, int]] = [(document, "", 0)]
    while waiting:
        value, path, depth = waiting.pop()
        wrong = _wrong(value, depth)
        if wrong:
            return path, wrong
        if isinstance(value, dict):
            for name, member in value.items():
                if bad := _bad_text(name):
                    return path, f"has a member whose name {bad}"
                here = f"{path}.{name[:64]}" if path else name[:64]
                waiting.append((member, here, depth + 1))
        elif isinstance(value, list):
            waiting.extend((member, f"{path}[{i}]", depth + 1) for i, member in enumerate(value) if not _plain(member))
    return None


def _plain(value: Any) -> bool:
    """Whether nothing can be wrong with it: most entries of long lists."""
    return value.__class__ is int and -(2**53) < value < 2**53


def _wrong(value: Any, depth: int) -> str:
    if isinstance(value, str):
        bad = _bad_text(value)
        return f"{bad[0].upper()}{bad[1:]}" if bad else ""
    if isinstance(value, float) and not math.isfinite(value):
        return "Is not a finite number."
    if isinstance(value, int | float) and not -(2**53) < value < 2**53:
        return "Is too large: numbers lie between -2^53 and 2^53."
    if isinstance(value, list | dict):
        if depth >= DEEPEST:
            return f"Is nested deeper than {DEEPEST} levels."
        if len(value) > MOST_ENTRIES:
            return f"Has {len(value)} entries; at most {MOST_ENTRIES} are allowed."
    return ""


def _bad_text(text: str) -> str:
    if "\0" in text:
        return "holds the character U+0000, which can't be stored."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode: half of a surrogate pair stands alone."
    return ""
