"""Who is asking: a phone by its access token, a backend by its API key, an operator by the console's session."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from controlplane.accounts.access_token import live_device, read_token
from controlplane.accounts.actions.keys import PREFIX, Scope, held, live_key
from controlplane.accounts.models import ApiKey, Device
from controlplane.accounts.roles import Role, has_role, rights_of
from controlplane.audit.models import Channel
from controlplane.audit.record import Actor
from controlplane.audit.rules.verbs import Right
from controlplane.base.addresses import client_address as nearest
from controlplane.base.refusal import NotAllowed, NotAuthenticated

SAFE = ("GET", "HEAD", "OPTIONS")


class KeyRefused(NotAuthenticated):
    """The same for a key that is unknown, revoked or expired."""

    code = "key_refused"
    title = "The API key was not accepted"


class PhoneToken(BaseAuthentication):
    """`Authorization: Bearer <access token>`. The request's `user` is the Device, with its subscriber."""

    def authenticate(self, request: Request) -> tuple[Device, str] | None:
        token = _bearer(request)
        if not token:
            return None
        return live_device(read_token(token)), token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class OperatorKey(BaseAuthentication):
    """`X-API-Key: rk_…` or `Authorization: Bearer rk_…`. The request's `user` and `auth` are the ApiKey."""

    def authenticate(self, request: Request) -> tuple[ApiKey, ApiKey] | None:
        key = request.META.get("HTTP_X_API_KEY", "").strip() or _bearer(request)
        if not key:
            return None
        row = live_key(key, now=timezone.now()) if key.startswith(PREFIX) and len(key) < 200 else None
        if row is None:
            raise KeyRefused("The API key is wrong, revoked or expired. Ask an operator for a new one.")
        return row, row

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ConsoleSession(SessionAuthentication):
    """The console's cookie, with Django's CSRF check: for the documentation pages and for reading in a browser."""

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsPhone(BasePermission):
    """Only a signed-in device. Every row that such a view touches must be its subscriber's."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.user, Device):
            raise NotAuthenticated("Send the phone's access token in the Authorization header.")
        return True


class HasScope(BasePermission):
    """A key with the view's `required_scope`: by default `read` for GET and `operate` for everything else."""

    def has_permission(self, request: Request, view: Any) -> bool:
        asked = getattr(view, "required_scope", None)
        needed = Scope(asked) if asked else Scope.READ if request.method in SAFE else Scope.OPERATE
        scopes = scopes_of(request)
        if scopes is None:
            raise NotAuthenticated("Send an API key in the header X-API-Key.")
        if needed not in scopes:
            raise NotAllowed(f"This needs the scope {needed.value}. Ask for a key that has it.")
        return True


def scopes_of(request: Request) -> set[Scope] | None:
    """What the caller may do; None when nobody is signed in."""
    if isinstance(request.auth, ApiKey):
        return held(request.auth)
    user = request.user
    if user is None or isinstance(user, Device) or not user.is_authenticated:
        return None
    scopes = {Scope.READ, Scope.EVALUATE} if has_role(user, Role.VIEWER) else set()
    scopes |= {Scope.AUDIT} if has_role(user, Role.AUDITOR) else set()
    return scopes | {Scope.OPERATE} if has_role(user, Role.OPERATOR) else scopes


def actor_of(request: Request) -> Actor:
    """Who stands in the audit for what this request changes."""
    if isinstance(request.auth, ApiKey):
        rights = {Right.OPERATE} if Scope.OPERATE in held(request.auth) else frozenset[Right]()
        return Actor.api_key(f"{request.auth.name} ({request.auth.prefix}…)", rights)
    return Actor.operator(request.user.get_username(), rights_of(request.user), Channel.REST)


def is_of_our_edge(request: HttpRequest) -> bool:
    """Whether one of our edges handed the request on, and says in X-Forwarded-For whose it is."""
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
    mark: str = request.META.get("HTTP_X_ROLLCALL_EDGE", "")
    return compare_digest(mark.encode(), settings.KEYS.edge_mark(forwarded).encode())


def client_address(request: Request) -> str:
    """The client's address. X-Forwarded-For is believed of our edges, by their mark, and of TRUSTED_PROXIES."""
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if is_of_our_edge(request):
        return forwarded
    return nearest(request.META.get("REMOTE_ADDR", ""), forwarded, settings.ENV.trusted_proxies)


def _bearer(request: Request) -> str:
    kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


class PhoneTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = PhoneToken
    name = "phoneToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class OperatorKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = OperatorKey
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "X-API-Key"}


class ConsoleSessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = ConsoleSession
    name = "console"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
