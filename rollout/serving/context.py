"""The evaluation context of an OFREP request: read once, bounded in bytes, members and depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from controlplane.base.refusal import Refusal, TooLarge

LARGEST_BODY = 64 * 1024
MOST_MEMBERS = 1_000
DEEPEST = 16
LONGEST_UNIT = 256


class BadContext(Refusal):
    """The request can't be evaluated; `error_code` is OpenFeature's."""

    code = "bad_context"
    title = "The evaluation request can't be used"

    def __init__(self, detail: str, *, error_code: str = "INVALID_CONTEXT") -> None:
        super().__init__(detail)
        self.error_code = error_code


@dataclass(frozen=True, slots=True)
class Context:
    """`body` is what was sent: two requests with the same bytes have the same context."""

    body: bytes
    members: Mapping[str, Any]

    @property
    def unit(self) -> str:
        """OpenFeature's targeting key; empty when there is none."""
        return self.members.get("targetingKey") or ""


NO_CONTEXT = Context(b"", {})


async def read_context(request: web.Request) -> Context:
    """The request's context; none at all is an empty one. Raises `BadContext` or `TooLarge`."""
    body = await _body(request)
    if not body:
        return NO_CONTEXT
    return parse_context(body)


def parse_context(body: bytes) -> Context:
    """Raises `BadContext` with OpenFeature's error code."""
    if not body.strip():
        return NO_CONTEXT
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadContext(f"The body is not JSON: {error}.", error_code="PARSE_ERROR") from error
    if not isinstance(document, dict):
        raise BadContext("The body must be an object with a member context.", error_code="PARSE_ERROR")
    context = document.get("context")
    if context is None:
        return NO_CONTEXT
    if not isinstance(context, dict):
        raise BadContext("context must be an object.")
    unit = context.get("targetingKey")
    if unit is not None and (not isinstance(unit, str) or len(unit) > LONGEST_UNIT):
        raise BadContext(f"context.targetingKey must be a string of at most {LONGEST_UNIT} characters.")
    if _members(context, 0) > MOST_MEMBERS:
        raise BadContext(f"context has more than {MOST_MEMBERS} members.")
    return Context(body, context)


async def _body(request: web.Request) -> bytes:
    if not request.body_exists:
        return b""
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLarge(f"Send at most {LARGEST_BODY} bytes.")
    parts = bytearray()
    async for part in request.content.iter_any():
        parts += part
        if len(parts) > LARGEST_BODY:
            raise TooLarge(f"Send at most {LARGEST_BODY} bytes.")
    return bytes(parts)


def _members(raw: Any, depth: int) -> int:
    if depth > DEEPEST:
        raise BadContext(f"context is deeper than {DEEPEST} levels.")
    inner = raw.values() if isinstance(raw, dict) else raw
    return len(inner) + sum(_members(each, depth + 1) for each in inner if isinstance(each, dict | list))
