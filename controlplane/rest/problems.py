"""Every refusal and every error of the web as RFC 9457 problem details, in one place."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from controlplane.base.refusal import (
    BadInput,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Refusal,
    TooLarge,
    TooMany,
    TryAgain,
)

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
PREFIXES = ("/api/", "/v1/", "/ofrep/", "/healthz", "/readyz")
DATABASE_AWAY = (OperationalError, InterfaceError)


class NotAcceptable(Refusal):
    code = "not_acceptable"
    status = 406
    title = "The answer is not available in this form"


class UnsupportedMediaType(Refusal):
    code = "unsupported_media_type"
    status = 415
    title = "The request has a form that we don't read"


class OurFault(Refusal):
    code = "internal_error"
    status = 500
    title = "Something went wrong on our side"


class InvalidInput(Refusal):
    """What was sent has faults; `errors` names the place of each."""

    code = "bad_input"
    title = "The request can't be read"

    def __init__(self, errors: list[dict[str, str]]) -> None:
        first = errors[0]
        detail = f"{first['path']}: {first['detail']}" if first["path"] else first["detail"]
        super().__init__(detail, extra={"errors": errors, "path": first["path"]})


def handle(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: the problem's response; None for a fault of ours, so that Django logs it."""
    refusal = refusal_of(error)
    if refusal is None:
        return None
    set_rollback()
    if isinstance(error, DATABASE_AWAY):
        log.warning("database.away", error=type(error).__name__)
    response = Response(refusal.as_problem(), status=refusal.status, content_type=CONTENT_TYPE)
    for name, value in _headers(refusal, getattr(error, "auth_header", None)).items():
        response[name] = value
    if isinstance(error, exceptions.MethodNotAllowed):
        response["Allow"] = ", ".join(context["view"].allowed_methods) if context.get("view") else ""
    return response


def refusal_of(error: Exception) -> Refusal | None:
    """The refusal that an exception stands for, or None for a fault of ours."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, exceptions.APIException):
        return _of_rest_framework(error)
    if isinstance(error, Http404):
        return NotFound("There is nothing at this address. Check its path.")
    if isinstance(error, PermissionDenied):
        return NotAllowed("You may not do this. Ask for a role or a scope that may.")
    if isinstance(error, RequestDataTooBig):
        return TooLarge("Send less at once.")
    if isinstance(error, DATABASE_AWAY):
        return TryAgain("The database can't be reached right now. Try again in a moment.")
    if isinstance(error, DataError | UnicodeEncodeError | RecursionError | SuspiciousOperation):
        return BadInput("The request holds a value that can't be stored. Check its text and numbers.")
    return None


def as_response(refusal: Refusal) -> HttpResponse:
    """The refusal as a response of plain Django."""
    body = json.dumps(refusal.as_problem(), ensure_ascii=False)
    return HttpResponse(body, status=refusal.status, content_type=CONTENT_TYPE, headers=_headers(refusal, None))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return as_response(refusal_of(exception) or BadInput("The request can't be read. Check its form."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403."""
    return (
        as_response(refusal_of(exception) or NotAllowed())
        if _is_api(request)
        else defaults.permission_denied(request, exception)
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return as_response(NotFound("There is nothing at this address. Check its path."))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: 503 while the database is away, on pages too."""
    error = sys.exc_info()[1]
    away = isinstance(error, DATABASE_AWAY)
    if _is_api(request):
        trouble = TryAgain("The database can't be reached right now. Try again in a moment.")
        return as_response(trouble if away else OurFault("The fault was logged. Try again, or tell the operators."))
    if not away:
        return defaults.server_error(request)
    text = "The database can't be reached right now. Try again in a moment: this page asks again by itself."
    return HttpResponse(text, status=503, content_type="text/plain", headers={"Retry-After": "2", "Refresh": "2"})


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith(PREFIXES)


def _headers(refusal: Refusal, authenticate: str | None) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = authenticate or "Bearer"
    return headers


def _of_rest_framework(error: exceptions.APIException) -> Refusal:
    match error:
        case exceptions.ValidationError():
            return InvalidInput(list(_faults(error.detail, "")))
        case exceptions.ParseError():
            return BadInput("The body must be JSON in UTF-8. Check its brackets, commas and quotation marks.")
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return NotAuthenticated("Send a valid key or token in the Authorization header.")
        case exceptions.PermissionDenied():
            return NotAllowed(str(error.detail))
        case exceptions.NotFound():
            return NotFound("There is nothing at this address. Check its path.")
        case exceptions.MethodNotAllowed():
            return MethodNotAllowed("This address knows other methods: the Allow header lists them.")
        case exceptions.NotAcceptable():
            return NotAcceptable("We answer in application/json. Change the Accept header.")
        case exceptions.UnsupportedMediaType():
            return UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
        case exceptions.Throttled():
            return TooMany("Wait before you ask again.", retry_after=int(getattr(error, "wait", None) or 1))
    return OurFault("The fault was logged. Try again, or tell the operators.")


def _faults(detail: Any, path: str) -> Iterator[dict[str, str]]:
    """Each fault of DRF's nested detail, with the path of its place, as in `device.keys[0]`."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            if isinstance(name, int):  # a list's faults, by index
                here = f"{path}[{name}]"
            else:
                here = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _faults(inner, here)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list)
            if not (nested and not inner):
                yield from _faults(inner, f"{path}[{index}]" if nested else path)
    else:
        words = str(cast(object, detail))
        yield {"path": path, "detail": words if words.endswith((".", "?", "!")) else f"{words}."}
