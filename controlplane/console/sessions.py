"""How long a sign-in lasts: 8 hours without anything done, and 14 days at most."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

IDLE = timedelta(hours=8)
LONGEST = timedelta(days=14)
NOTED_EVERY = timedelta(minutes=1)  # so that not every request writes
PAGES = "/console/"
SIGNED_IN, SEEN = "signed_in_at", "seen_at"
REFRESHING = {"console:overview", "console:panel"}  # asked for by open pages, also when nobody sits there


def begin(session: Any, now: datetime) -> None:
    session[SIGNED_IN] = session[SEEN] = now.timestamp()


class SessionsEnd:
    """Middleware behind authentication: whoever was away for too long is signed out before anything answers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        if not request.path.startswith(PAGES) or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return  # what isn't the console knows no sign-in: /healthz must answer while the database is away
        if not request.user.is_authenticated:
            return
        now, session = timezone.now().timestamp(), request.session
        if SIGNED_IN not in session:
            begin(session, timezone.now())
        if now - session[SIGNED_IN] > LONGEST.total_seconds() or now - session[SEEN] > IDLE.total_seconds():
            logout(request)
        elif now - session[SEEN] > NOTED_EVERY.total_seconds() and not _refreshes(request):
            session[SEEN] = now


def _refreshes(request: HttpRequest) -> bool:
    """Whether an open page asks by itself."""
    match = request.resolver_match
    return request.headers.get("HX-Request") == "true" and match is not None and match.view_name in REFRESHING
