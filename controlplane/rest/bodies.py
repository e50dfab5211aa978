"""What all bodies of the operators' REST have in common: nothing unknown is accepted, and lists come in one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.base.refusal import BadInput
from controlplane.base.wording import hidden_in
from controlplane.rest.authentication import actor_of

M = TypeVar("M", bound=Model)
MOST = 1000
WHY = "Say why: the reason stands in the audit."


class Typed(serializers.Serializer[Any]):
    """A body whose members have the type that they are documented with: no 0 for false, no number for text."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            wrong = {
                name: fault
                for name, field in self.fields.items()
                if data.get(name) is not None and (fault := wrong_type(field, data[name]))
            }
            if wrong:
                raise serializers.ValidationError(wrong)
        return super().to_internal_value(data)


def wrong_type(field: Any, value: Any) -> Any:
    """What is wrong with the type of the value, by the place of a list where it is in one; nothing if it is right."""
    match field:
        case serializers.BooleanField() if not isinstance(value, bool):
            return "Send true or false."
        case serializers.IntegerField() if type(value) is not int:
            return "Send a whole number, without quotation marks."
        case serializers.CharField() | serializers.UUIDField() if not isinstance(value, str):
            return "Send text, in quotation marks."
        case serializers.ListField() if isinstance(value, list):
            return {i: fault for i, each in enumerate(value) if (fault := wrong_type(field.child, each))}
    return None


class Body(Typed):
    """A body that refuses members it doesn't know: a misspelt limit must not be ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (strange := sorted(set(data) - set(self.fields))):
            known = ", ".join(sorted(self.fields))
            raise serializers.ValidationError({strange[0]: f"There is no such member. Known are: {known or 'none'}."})
        found = super().to_internal_value(data)
        for name, value in found.items():
            if isinstance(value, str) and (hidden := hidden_in(value)):
                raise serializers.ValidationError(
                    {name: f"It holds the invisible character {hidden}: write it without."}
                )
        return found


class ReasonBody(Body):
    reason = serializers.CharField(required=False, default="", max_length=500, allow_blank=True,
                                   help_text="Why; it stands in the audit")  # fmt: skip


class WhyBody(Body):
    """For what gives something to people: nobody finds out later why, unless it is said now."""

    reason = serializers.CharField(max_length=500, help_text="Why; it stands in the audit", error_messages={
        "required": WHY, "null": WHY, "blank": WHY,
    })  # fmt: skip


def read(kind: type[serializers.Serializer[Any]], request: Request, *, partial: bool = False) -> dict[str, Any]:
    """The validated body, or a problem with the path of each fault."""
    body = kind(data=request.data, partial=partial)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def reasoned(request: Request) -> dict[str, Any]:
    """What a verb that takes only a reason hands to its action: why, who, and when."""
    return {"reason": read(ReasonBody, request)["reason"], "actor": actor_of(request), "now": timezone.now()}


def created(request: Request, response: Response, name: object) -> Response:
    """The answer about something new of this list, with the address where it stands."""
    response.status_code = 201
    response["Location"] = f"{request.path.rstrip('/')}/{name}"
    return response


def list_of(kind: type[serializers.Serializer[Any]]) -> Any:
    """The form of every list: `results`, and where the next ones are."""
    name = kind.__name__.removesuffix("Answer") + "List"
    return inline_serializer(name, {"results": kind(many=True), "next": serializers.URLField(allow_null=True)})


def listed(kind: type[serializers.Serializer[Any]], rows: Iterable[Any], next: str | None = None) -> Response:
    return Response({"results": kind(rows, many=True).data, "next": next})


PAGING = [
    OpenApiParameter("limit", int, description=f"How many at most: 1 to {MOST}; usually 100"),
    OpenApiParameter("after", int, description="Go on after the row with this id, as `next` does"),
]
PAGING_BY_KEY = [
    OpenApiParameter("limit", int, description=f"How many at most: 1 to {MOST}; usually 100"),
    OpenApiParameter("after", str, description="Go on after this key, as `next` does"),
]


def asked(request: Request, name: str) -> str:
    """A value of the query string; empty when it is missing. Raises BadInput for one that is there and empty."""
    value = request.query_params.get(name)
    if value == "":
        raise BadInput(f"{name} is empty: give it a value, or leave it out.", path=name)
    return value or ""


def number(request: Request, name: str, *, usual: int, least: int, most: int) -> int:
    """A whole number of the query string. Raises BadInput."""
    raw = asked(request, name)
    if not raw:
        return usual
    if not raw.isascii() or not raw.isdigit() or len(raw) > 19 or not least <= int(raw) <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}.", path=name)
    return int(raw)


def newest_page(request: Request, rows: QuerySet[M]) -> tuple[list[M], str | None]:
    """The newest rows (by id), and the address of the next older ones."""
    limit = number(request, "limit", usual=100, least=1, most=MOST)
    after = number(request, "after", usual=0, least=0, most=2**63 - 1)
    chosen = rows.filter(pk__lt=after) if after else rows
    page = list(chosen.order_by("-pk")[: limit + 1])
    return page[:limit], _next(request, page[limit - 1].pk) if len(page) > limit else None


def oldest_page(request: Request, rows: QuerySet[M]) -> tuple[list[M], str | None]:
    """Rows in the order of their ids, and the address of the next younger ones."""
    limit = number(request, "limit", usual=100, least=1, most=MOST)
    after = number(request, "after", usual=0, least=0, most=2**63 - 1)
    page = list(rows.filter(pk__gt=after).order_by("pk")[: limit + 1])
    return page[:limit], _next(request, page[limit - 1].pk) if len(page) > limit else None


def keyed_page(request: Request, rows: QuerySet[M]) -> tuple[list[M], str | None]:
    """Rows in the order of their keys, and the address of the next ones."""
    limit = number(request, "limit", usual=100, least=1, most=MOST)
    after = asked(request, "after")
    if len(after) > 64 or "\0" in after:
        raise BadInput("after must be a key, of at most 64 characters.", path="after")
    page = list((rows.filter(key__gt=after) if after else rows).order_by("key")[: limit + 1])
    if len(page) <= limit:
        return page, None
    last = getattr(page[limit - 1], "key")  # noqa: B009  # the models share no base that has it
    return page[:limit], _next(request, last)


def _next(request: Request, after: Any) -> str:
    query = request.query_params.copy()
    query["after"] = str(after)
    return str(request.build_absolute_uri(f"{request.path}?{query.urlencode()}"))
