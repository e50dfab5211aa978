"""A demonstration answers its own machine only: it gives one-time codes to whoever asks for them."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from controlplane.base.addresses import OnlyHere, is_direct
from controlplane.rest.authentication import is_of_our_edge
from controlplane.rest.problems import as_response


class OnlyThisMachine:
    """Middleware, before everything that answers. Which Host names are loopback's, ALLOWED_HOSTS says."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.ENV.demonstration:
            request.get_host()
            peer = request.META.get("REMOTE_ADDR", "")
            if not is_of_our_edge(request) and not is_direct(peer, request.headers):  # the edge has looked itself
                return as_response(OnlyHere())
        return self.get_response(request)
