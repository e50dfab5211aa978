"""`Rollcall-Ruleset`: the number of a ruleset that holds what a request changed, so that a script can wait for it."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from controlplane.rest.authentication import SAFE
from rollout.models import Ruleset
from rollout.serving.ruleset import NUMBER


class PublishedNumber:
    """Every answer to a change bears the newest number, which is the change's own or a later one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if request.method not in SAFE and request.path.startswith("/api/") and response.status_code < 400:
            response[NUMBER] = str(Ruleset.objects.values_list("version", flat=True).first() or 0)
        return response
