"""Signing in to the console: limited, audited, and over in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from controlplane.accounts.limits import SIGN_INS
from controlplane.audit.models import AuditEntry
from controlplane.console import sessions
from controlplane.console.policy import POLICY
from tests import operators
from tests.operators import signed_in

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password 42"
CAPS = PAIR, ADDRESS, OPERATOR = 3, 6, 9


@pytest.fixture(autouse=True)
def _few_and_fast(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The real limits, with small numbers, and passwords that are quickly hashed."""
    fewer = tuple(replace(limit, cap=cap) for limit, cap in zip(SIGN_INS, CAPS, strict=True))
    monkeypatch.setattr("controlplane.accounts.actions.sign_in.SIGN_INS", fewer)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def sign_in(password: str, *, name: str = "viewer", address: str = "203.0.113.7") -> Any:
    terms = {"username": name, "password": password}
    return Client(REMOTE_ADDR="127.0.0.1").post(
        "/console/login/?next=/console/", terms, headers={"X-Forwarded-For": address, **mark(address)}
    )


def mark(address: str) -> dict[str, str]:
    """As one of our edges hands a request on."""
    return {"X-Rollcall-Edge": settings.KEYS.edge_mark(address)}


def sessions_told() -> list[tuple[str, str, str]]:
    entries = AuditEntry.objects.filter(verb__startswith="session.").order_by("id")
    return [(entry.verb, entry.subject, entry.detail["address"]) for entry in entries]


def test_sign_in__right_or_wrong__stands_in_the_audit() -> None:
    signed_in("viewer")

    wrong, right = sign_in("wrong"), sign_in(PASSWORD)
    stranger = sign_in("x", name="my password by mistake")

    assert (wrong.status_code, right.status_code, stranger.status_code) == (200, 302, 200)
    assert sessions_told() == [
        ("session.refused", "operator:viewer", "203.0.113.7"),
        ("session.opened", "operator:viewer", "203.0.113.7"),
        ("session.refused", "operator:somebody unknown", "203.0.113.7"),
    ]
    assert "mistake" not in str(list(AuditEntry.objects.values()))


def test_sign_in__tried_too_often__is_refused_even_with_the_password_but_not_from_elsewhere() -> None:
    signed_in("viewer")
    for _ in range(PAIR):
        sign_in("wrong", name="Viewer")
    refused = sign_in(PASSWORD)

    page = refused.content.decode()
    assert refused.status_code == 200
    assert "There were too many sign-ins as this operator from your address. Try again in 15 min." in page
    assert len(sessions_told()) == PAIR
    assert sign_in(PASSWORD, address="198.51.100.9").status_code == 302


def test_sign_in__of_many_names_from_one_address__is_refused() -> None:
    signed_in("viewer")
    for number in range(ADDRESS):
        sign_in("wrong", name=f"operator-{number}")

    assert "too many sign-ins from your address" in sign_in(PASSWORD).content.decode()
    assert sign_in(PASSWORD, address="198.51.100.9").status_code == 302


def test_sign_in__from_everywhere__is_refused_for_an_hour() -> None:
    signed_in("viewer")
    for number in range(OPERATOR):
        sign_in("wrong", address=f"198.51.{number}.9")

    assert "Try again in 60 min." in sign_in(PASSWORD).content.decode()


def ago(client: Client, **times: timedelta) -> None:
    session = client.session
    for name, time in times.items():
        session[name] = (timezone.now() - time).timestamp()
    session.save()


@pytest.mark.parametrize(
    ("times", "stays"),
    [
        ({"signed_in_at": timedelta(days=13), "seen_at": timedelta(hours=7)}, True),
        ({"signed_in_at": timedelta(days=13), "seen_at": timedelta(hours=9)}, False),
        ({"signed_in_at": timedelta(days=15), "seen_at": timedelta(0)}, False),
    ],
    ids=["in use", "idle", "too long"],
)
def test_session__in_time__ends(times: dict[str, timedelta], stays: bool) -> None:
    client = signed_in("viewer")
    ago(client, **times)

    answers = [client.get(path).status_code for path in ("/console/", "/console/explain/")]

    assert answers == ([200, 200] if stays else [302, 302])


def test_session__of_a_page_that_refreshes_itself__is_idle_all_the_same() -> None:
    client = signed_in("viewer")
    operators.feature()
    ago(client, signed_in_at=timedelta(hours=8), seen_at=timedelta(hours=7))
    before = client.session[sessions.SEEN]

    client.get("/console/", headers={"HX-Request": "true"})
    assert client.session[sessions.SEEN] == before
    client.get("/console/explain/")

    assert client.session[sessions.SEEN] > before


@pytest.mark.parametrize("path", ["/console/login/", "/console/", "/console/nothing/", "/api/docs"])
def test_page__of_the_web__carries_the_policy(path: str) -> None:
    answer = signed_in("viewer").get(path)

    assert answer["Content-Security-Policy"] == POLICY
    assert "script-src 'self' 'unsafe-eval';" in POLICY
    assert "<script>" not in answer.content.decode()
    assert "onclick=" not in answer.content.decode()
