"""What a page says must be so, also where there is little to say."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from calls.models import CallRecord
from controlplane.accounts.models import ApiKey
from controlplane.audit.models import AuditEntry
from rollout.actions import windows
from rollout.models import Window
from tests import operators
from tests.operators import TESTS, signed_in

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password 42"


def text(client: Client, path: str, **data: Any) -> str:
    return client.get(f"/console/{path}", data).content.decode()


def test_window__closed_without_anybody__says_what_was_and_not_what_may_come() -> None:
    operators.feature()
    window = windows.create_window("voice-calls", name="Saturday", actor=TESTS, now=timezone.now())
    report = {"activations": 0, "setup_ms": {"n": 0, "p50": None, "p95": None}}
    Window.objects.update(state="closed", closed_at=timezone.now(), report=report)

    page = text(signed_in("viewer"), f"panel/window/{window.pk}/")

    assert "Nobody came in through it." in page
    assert "p50 <b>not known</b>" in page
    assert "None" not in page


def test_window__open__says_the_same_as_the_overview() -> None:
    operators.area()
    operators.feature()
    window = windows.create_window("voice-calls", name="Saturday", actor=TESTS, now=timezone.now())
    windows.open_window(window.pk, actor=TESTS, now=timezone.now())

    page = text(signed_in("viewer"), f"panel/window/{window.pk}/")

    assert "The window “Saturday” is open: 0 of 1,000 places used." in page
    assert "Taking people in" in page


def test_calls__ordinary_ones__have_nothing_wrong_with_them() -> None:
    row = {"feature": "f", "area": "DE", "caller": b"a", "callee": b"b", "media": "audio", "created_at": timezone.now()}
    CallRecord.objects.create(id=uuid.uuid4(), state="ended", reason="hangup", activating=False, **row)

    page = text(signed_in("viewer"), "calls/callrecord/")

    assert "hangup" in page
    assert "close_small" not in page  # the red cross


def test_audit__on_pages__is_told_in_words() -> None:
    operators.feature()

    overview, ledger = text(signed_in("viewer"), ""), text(signed_in("auditor"), "audit/auditentry/")

    for page in (overview, ledger):
        assert "Feature voice-calls switched on" in page
        assert "Rollcall (tests)" in page
    assert f"{AuditEntry.objects.count()} audit entries" in " ".join(ledger.split())


@pytest.mark.parametrize(
    ("query", "words"),
    [({}, "There is nothing here yet."), ({"q": "x"}, "Nothing matches.")],
    ids=["empty", "searched"],
)
def test_list__without_rows__says_why(query: dict[str, str], words: str) -> None:
    page = text(signed_in("viewer"), "accounts/subscriber/", **query)

    assert words in page
    assert "yielded" not in page


def test_page__that_is_forbidden_or_missing__says_so_and_leads_back() -> None:
    client = signed_in("viewer")

    forbidden, missing = client.get("/console/grant/"), client.get("/console/nothing/")

    assert (forbidden.status_code, missing.status_code) == (403, 404)
    assert "This takes the role operator" in forbidden.content.decode()
    assert "There is nothing at this address" in missing.content.decode()
    for answer in (forbidden, missing):
        assert 'href="/console/"' in answer.content.decode()


def test_sign_in__with_a_wrong_password__is_refused_once(client: Client) -> None:
    signed_in("viewer")

    page = client.post("/console/login/", {"username": "viewer", "password": "wrong"}).content.decode()

    assert page.count('role="alert"') == 1
    assert "Please correct the error" not in page


def test_api_key__with_a_last_moment__ends_then() -> None:
    client, at = signed_in("operator"), timezone.now().replace(second=0, microsecond=0) + timedelta(days=3)
    terms = {"name": "backend", "scopes": ["read"]}

    client.post("/console/keys/new/", {**terms, "expires_at": at.strftime("%Y-%m-%dT%H:%M")})
    past = client.post("/console/keys/new/", {**terms, "expires_at": "2015-03-31T12:00"}).content.decode()

    assert ApiKey.objects.get().expires_at == at
    assert "A key ends in the future." in past


def test_operator__added_by_an_admin__can_sign_in() -> None:
    admin = signed_in("admin")
    terms = {"username": "vera", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

    assert admin.post("/console/auth/user/add/", terms).status_code == 302
    signed = Client().post("/console/login/?next=/console/", {"username": "vera", "password": PASSWORD})

    assert signed.status_code == 302


def test_roles__that_do_nothing__are_not_offered() -> None:
    assert "approver" not in text(signed_in("admin"), "auth/group/")
