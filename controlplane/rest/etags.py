"""Tags against lost updates: `ETag` on an answer, and what `If-Match` asks for."""

from __future__ import annotations

import re

from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.base.refusal import BadInput

TAG = re.compile(r'"([0-9a-f]{1,16})"\Z')


def tagged(response: Response, tag: int | str) -> Response:
    """The answer with its `ETag`: the thing's revision (or another mark of its state), in quotation marks."""
    response["ETag"] = f'"{tag}"'
    return response


def tag_asked(request: Request) -> str:
    """What `If-Match` asks for, without its quotation marks; empty when it is missing or `*`. Raises BadInput."""
    raw = str(request.META.get("HTTP_IF_MATCH", "*")).strip()
    if raw == "*":
        return ""
    match = TAG.match(raw)
    if match is None:
        raise BadInput('If-Match must be one ETag as an answer gave it, such as "3".', path="If-Match")
    return match[1]


def revision_asked(request: Request) -> int | None:
    """The revision that `If-Match` asks for; None when it is missing or `*`. Raises BadInput."""
    tag = tag_asked(request)
    if not tag:
        return None
    return int(tag) if tag.isdecimal() else 0  # a tag of something else matches no revision
