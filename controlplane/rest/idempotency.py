"""`Idempotency-Key`: a request that is sent again has its effect once, and gets the first one's answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from controlplane.accounts.actions.keys import live_key
from controlplane.base.refusal import BadInput, Refusal
from controlplane.rest.actions import Kept, Question, claim, find, keep
from controlplane.rest.problems import as_response

View = Callable[..., HttpResponseBase]
ACTING = ("POST", "PUT", "PATCH", "DELETE")
LONGEST = 200
KEPT_HEADERS = ("Content-Type", "ETag", "Location")


class IdempotencyKeys:
    """The last middleware: it sees a request when its view is known.

    The effect, and that it was answered, stand in one transaction: a reply that is lost on its way is found again, and
    of two requests at once the second waits for the first. A refusal changed nothing and is not kept: what is sent
    again is tried anew. A view that must commit by itself (`commits_itself`) is kept afterwards instead: its verb can
    be repeated without harm.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method not in ACTING or not request.path.startswith("/api/"):
            return None
        if not hasattr(getattr(view, "cls", None), str(request.method).lower()):
            return None  # the view refuses the method
        try:
            question = _question(request, key)
            if question is None:
                return None
            if getattr(getattr(view, "cls", None), "commits_itself", False):
                return _afterwards(question, request, lambda: view(request, *args, **kwargs))
            return _at_once(question, request, lambda: view(request, *args, **kwargs))
        except Refusal as refusal:
            return as_response(refusal)


def _question(request: HttpRequest, key: str) -> Question | None:
    """None when the view will refuse the caller anyway."""
    if not 1 <= len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise BadInput(f"Idempotency-Key must have 1 to {LONGEST} printable characters.", path="Idempotency-Key")
    credential = request.headers.get("X-API-Key", "").strip()
    if not credential:
        credential = request.headers.get("Authorization", "").strip().rpartition(" ")[2]
    if not credential or live_key(credential, now=timezone.now()) is None:
        return None
    asked = f"{request.method} {request.get_full_path()} {request.headers.get('If-Match', '')}\n".encode()
    secret = credential.encode() + b"\x00" + key.encode()
    return Question(secret, hashlib.sha256(asked + request.body).digest())


def _at_once(question: Question, request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    now = timezone.now()
    with transaction.atomic():
        stored = claim(question, now=now)
        if stored is not None:
            return _replayed(stored)
        response = _rendered(view())
        if response.status_code >= 400:
            transaction.set_rollback(True)
        else:
            keep(question, _as_kept(response), now=now)
    return response


def _afterwards(question: Question, request: HttpRequest, view: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    now = timezone.now()
    stored = find(question, now=now)
    if stored is not None:
        return _replayed(stored)
    response = _rendered(view())
    if response.status_code < 400:
        keep(question, _as_kept(response), now=now)
    return response


def _rendered(response: HttpResponseBase) -> HttpResponse:
    """With its body written out, which the framework would otherwise do after the transaction."""
    assert isinstance(response, HttpResponse)
    render = getattr(response, "render", None)
    return render() if render is not None else response


def _as_kept(response: HttpResponse) -> Kept:
    headers = {name: response[name] for name in KEPT_HEADERS if name in response}
    return Kept(response.status_code, headers, response.content)


def _replayed(kept: Kept) -> HttpResponse:
    return HttpResponse(kept.body, status=kept.status, headers={**kept.headers, "Idempotency-Replayed": "true"})
