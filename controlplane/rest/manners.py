"""What well-behaved REST has beside its bodies: tags against lost updates, and pages in the order of keys."""

from __future__ import annotations

import re
from typing import TypeVar

from django.db.models import Model, QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.base.refusal import BadInput
from controlplane.rest.bodies import MOST, number

M = TypeVar("M", bound=Model)
TAG = re.compile(r'"([0-9a-f]{1,16})"\Z')

PAGING_BY_KEY = [
    OpenApiParameter("limit", int, description=f"How many at most: 1 to {MOST}; usually 100"),
    OpenApiParameter("after", str, description="Go on after this key, as `next` does"),
]


def tagged(response: Response, tag: int | str) -> Response:
    """The answer with its `ETag`: the thing's revision (or another mark of its state), in quotation marks."""
    response["ETag"] = f'"{tag}"'
    return response


def tag_asked(request: Request) -> str:
    """What `If-Match` asks for, without its quotation marks; empty when it is missing or `*`. Raises BadInput."""
    raw = str(request.META.get("HTTP_IF_MATCH", "")).strip()
    if raw in ("", "*"):
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


def keyed_page(request: Request, rows: QuerySet[M]) -> tuple[list[M], str | None]:
    """Rows in the order of their keys, and the address of the next ones."""
    limit = number(request, "limit", usual=100, least=1, most=MOST)
    after = request.query_params.get("after", "")
    if len(after) > 64 or "\0" in after:
        raise BadInput("after must be a key, of at most 64 characters.", path="after")
    page = list((rows.filter(key__gt=after) if after else rows).order_by("key")[: limit + 1])
    if len(page) <= limit:
        return page, None
    query = request.query_params.copy()
    query["after"] = str(getattr(page[limit - 1], "key"))  # noqa: B009  # the models share no base that has it
    return page[:limit], str(request.build_absolute_uri(f"{request.path}?{query.urlencode()}"))
