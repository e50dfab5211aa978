"""Operators made and changed in the console: who gave whom which power stands in the audit."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User

from controlplane.audit.models import AuditEntry
from tests.operators import signed_in

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"
KEPT = {"username": "olga", "email": "", "first_name": "", "last_name": "", "is_active": "on", "is_staff": "on"}


@pytest.fixture
def olga():
    return User.objects.create_user("olga", password=PASSWORD, is_staff=True)


def change(client, user, **fields):
    return client.post(f"/console/auth/user/{user.pk}/change/", {**KEPT, **fields})


def test_operator__given_a_role__stands_in_the_audit(olga):
    client = signed_in("admin")

    answer = change(client, olga, groups=[Group.objects.get(name="admin").pk])

    assert answer.status_code == 302
    entry = AuditEntry.objects.get(verb="operator.changed")
    assert (entry.actor, entry.subject) == ("admin", "operator:olga")
    assert entry.detail["roles"] == ["admin"]
    assert entry.detail["changed"] == ["Groups"]


def test_operator__shut_out__stands_in_the_audit(olga):
    answer = change(signed_in("admin"), olga, is_active="")

    assert answer.status_code == 302
    assert AuditEntry.objects.get(verb="operator.changed").detail["active"] is False


def test_operator__added__stands_in_the_audit(olga):
    form = {"username": "otto", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

    answer = signed_in("admin").post("/console/auth/user/add/", form)

    assert answer.status_code == 302
    assert User.objects.get(username="otto").check_password(PASSWORD)
    entry = AuditEntry.objects.get(verb="operator.created", subject="operator:otto")
    assert entry.actor == "admin"


def test_adding_an_operator__without_a_name_or_password__is_refused():
    client = signed_in("admin")

    shown = client.get("/console/auth/user/add/").content.decode()
    answer = client.post("/console/auth/user/add/", {"usable_password": "true"})

    for field in ("username", "password1", "password2"):
        assert f'name="{field}"' in shown
    assert answer.status_code == 200
    assert list(User.objects.values_list("username", flat=True)) == ["admin"]


def test_password__set_by_an_admin__stands_in_the_audit_and_isn_t_in_it(olga):
    form = {"password1": PASSWORD + "!", "password2": PASSWORD + "!", "usable_password": "true"}

    answer = signed_in("admin").post(f"/console/auth/user/{olga.pk}/password/", form)

    assert answer.status_code == 302
    entry = AuditEntry.objects.get(verb="operator.changed")
    assert PASSWORD not in str(entry.detail)
    assert entry.detail["changed"] == ["password"]


def test_operator__changed_by_somebody_who_may_not__is_refused_and_leaves_nothing(olga):
    answer = change(signed_in("operator"), olga, is_superuser="on")

    assert answer.status_code == 403
    olga.refresh_from_db()
    assert not olga.is_superuser
    assert not AuditEntry.objects.filter(verb="operator.changed").exists()
