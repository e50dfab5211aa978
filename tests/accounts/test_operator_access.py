"""Operators' keys and sessions: which scope each address needs."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import include, path
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from controlplane.accounts.actions.operators import create_operator, ensure_roles
from controlplane.accounts.models import ApiKey
from controlplane.audit.models import AuditEntry
from controlplane.audit.record import Actor
from controlplane.rest.authentication import ConsoleSession, OperatorKey, actor_of
from tests import builders
from tests.builders import NOON

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

PASSWORD = "a long enough passphrase"


class Things(APIView):
    authentication_classes = [OperatorKey, ConsoleSession]

    def get(self, request: Request) -> Response:
        return Response({"actor": actor_of(request).name, "kind": actor_of(request).kind})

    def post(self, request: Request) -> Response:
        return Response({})


class Evaluation(Things):
    required_scope = "evaluate"


urlpatterns = [
    path("api/", include([path("things", Things.as_view()), path("evaluation", Evaluation.as_view())])),
]


@pytest.mark.parametrize(
    ("scope", "get", "post", "evaluate"),
    [("evaluate", 403, 403, 200), ("read", 200, 403, 403), ("operate", 200, 200, 403), ("unknown", 403, 403, 403)],
)
def test_key__opens__what_its_scope_says(scope: str, get: int, post: int, evaluate: int) -> None:
    key, _ = builders.api_key(scope)
    client = APIClient(headers={"X-API-Key": key})

    assert client.get("/api/things").status_code == get
    assert client.post("/api/things").status_code == post
    assert client.post("/api/evaluation").status_code == evaluate


def test_key__as_a_bearer__is_the_same() -> None:
    key, row = builders.api_key()

    answer = APIClient(headers={"Authorization": f"Bearer {key}"}).get("/api/things")

    assert answer.json() == {"actor": f"a backend ({row.prefix}…)", "kind": "api_key"}


@pytest.mark.parametrize("state", ["none", "wrong", "revoked", "expired", "phone"])
def test_key__that_is_not_good__opens_nothing(state: str) -> None:
    past = timezone.now() - timedelta(days=1)
    fields: dict[str, Any] = {"revoked": {"revoked_at": past}, "expired": {"expires_at": past}}.get(state, {})
    key, _ = builders.api_key(**fields)
    headers = {"wrong": {"X-API-Key": "rk_nonsense"}, "none": {}, "phone": {"Authorization": "Bearer eyJ.a.b"}}

    answer = APIClient(headers=headers.get(state, {"X-API-Key": key})).get("/api/things")

    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] in {"key_refused", "not_authenticated"}


@pytest.mark.parametrize(("role", "get", "post"), [("viewer", 200, 403), ("operator", 200, 200), (None, 403, 403)])
def test_session__opens__what_its_role_says(role: str | None, get: int, post: int) -> None:
    ensure_roles()
    if role:
        user = create_operator("olga", password=PASSWORD, roles=[role], actor=Actor.automatic("test"), now=NOON)
    else:
        user = User.objects.create_user("olga")
    client = APIClient()
    client.force_login(user)

    assert client.get("/api/things").status_code == get
    assert client.post("/api/things").status_code == post


def test_session__without_the_csrf_token__changes_nothing() -> None:
    ensure_roles()
    user = create_operator("olga", password=PASSWORD, roles=["operator"], actor=Actor.automatic("test"), now=NOON)
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)

    assert client.get("/api/things").status_code == 200
    assert client.post("/api/things").status_code == 403


def test_command__makes_lists_and_revokes_keys() -> None:
    out, listed = StringIO(), StringIO()

    call_command("apikey", "create", "backend", "--scopes", "read,operate", stdout=out, stderr=StringIO())
    key = out.getvalue().strip()
    assert APIClient(headers={"X-API-Key": key}).post("/api/things").status_code == 200
    call_command("apikey", "list", stdout=listed)
    assert f"{key[:8]}… backend: operate,read (live)" in listed.getvalue()
    call_command("apikey", "revoke", str(ApiKey.objects.get().pk), stdout=StringIO())

    assert APIClient(headers={"X-API-Key": key}).get("/api/things").status_code == 401
    assert AuditEntry.objects.filter(verb__startswith="api_key.").count() == 2
    with pytest.raises(CommandError, match="scopes"):
        call_command("apikey", "create", "backend", "--scopes", "all")
