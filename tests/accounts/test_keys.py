"""API keys, operators, and people who are brought in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from controlplane.accounts.actions.keys import create_key, digest, live_key, revoke_key
from controlplane.accounts.actions.operators import create_operator, ensure_roles
from controlplane.accounts.actions.subscribers import NewPerson, block, import_people, unblock
from controlplane.accounts.errors import PhoneInvalid
from controlplane.accounts.models import Block, Subscriber
from controlplane.accounts.roles import Role, has_role
from controlplane.audit.models import AuditEntry
from controlplane.audit.record import Actor
from controlplane.audit.rules.verbs import Right
from controlplane.base.refusal import BadInput, NotFound
from tests import builders
from tests.builders import NOON

pytestmark = pytest.mark.django_db

OLGA = Actor.operator("olga", Right)
PASSWORD = "a long enough passphrase"


def test_key__when_made__stands_as_a_digest__and_in_the_audit_without_itself() -> None:
    key, row = create_key("backend", scopes=["read", "evaluate"], actor=OLGA, now=NOON, reason="for the messenger")

    assert key.startswith("rk_")
    assert bytes(row.digest) == digest(key)
    assert row.scopes == ["evaluate", "read"]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.actor, entry.reason) == ("api_key.created", "olga", "for the messenger")
    assert key not in str(vars(entry)) + str(vars(row))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"expires_at": NOON}, "expires_at"),
    ],
)
def test_key__with_a_wrong_wish__is_refused(change: dict[str, Any], path: str) -> None:
    wish: dict[str, Any] = {"name": "backend", "scopes": ["read"], "expires_at": NOON + timedelta(days=1), **change}

    with pytest.raises(BadInput) as refused:
        create_key(wish.pop("name"), actor=OLGA, now=NOON, **wish)

    assert refused.value.extra["path"] == path
    assert not AuditEntry.objects.exists()


def test_key__unless_live__is_unknown() -> None:
    live, row = create_key("live", scopes=["read"], actor=OLGA, now=NOON)
    expiring, _ = create_key("expiring", scopes=["read"], actor=OLGA, now=NOON, expires_at=NOON + timedelta(hours=1))
    revoked, gone = create_key("revoked", scopes=["read"], actor=OLGA, now=NOON)
    revoke_key(gone.pk, actor=OLGA, now=NOON)
    revoke_key(gone.pk, actor=OLGA, now=NOON)
    later = NOON + timedelta(hours=1)

    assert live_key(live, now=later) == row
    assert live_key(expiring, now=NOON) is not None
    assert [live_key(key, now=later) for key in (expiring, revoked, "rk_unknown", "")] == [None] * 4
    assert AuditEntry.objects.filter(verb="api_key.revoked").count() == 1
    with pytest.raises(NotFound):
        revoke_key(0, actor=OLGA, now=NOON)


def test_key__made_by_a_key__may_no_more_and_ends_with_it_at_the_latest() -> None:
    _, maker = create_key("scripts", scopes=["operate"], actor=OLGA, now=NOON, expires_at=NOON + timedelta(days=100))
    first, one = create_key("first", scopes=["read"], actor=OLGA, now=NOON, maker=maker)
    later = NOON + timedelta(days=50)
    second, two = create_key("second", scopes=["operate"], actor=OLGA, now=later, maker=maker)
    third, _ = create_key("third", scopes=["read"], actor=OLGA, now=later, maker=two)

    for wish, path in (({"expires_at": NOON + timedelta(days=101)}, "expires_at"), ({"scopes": ["audit"]}, "scopes")):
        with pytest.raises(BadInput) as refused:
            create_key("more", **{"scopes": ["read"], "actor": OLGA, "now": NOON, "maker": maker, **wish})
        assert refused.value.extra["path"] == path
    assert one.expires_at == NOON + timedelta(days=90)
    assert two.expires_at == maker.expires_at
    assert all(live_key(key, now=later) for key in (first, second, third))
    revoke_key(maker.pk, actor=OLGA, now=later)
    assert [live_key(key, now=later) for key in (first, second, third)] == [None] * 3
    assert AuditEntry.objects.filter(verb="api_key.revoked").count() == 4


def test_operator__gets_what_the_role_may() -> None:
    ensure_roles()
    ensure_roles()

    olga = create_operator("olga", password=PASSWORD, roles=["operator"], actor=OLGA, now=NOON)
    vera = create_operator("vera", password=PASSWORD, roles=["viewer"], actor=OLGA, now=NOON)

    assert olga.has_perm("rollout.change_feature")
    assert not olga.has_perm("rollout.change_grant")
    assert not olga.has_perm("auth.change_user")
    assert vera.has_perm("rollout.view_feature")
    assert not vera.has_perm("rollout.change_feature")
    assert (has_role(olga, Role.OPERATOR), has_role(vera, Role.OPERATOR)) == (True, False)
    assert PASSWORD not in str(list(AuditEntry.objects.values()))


def test_admin__may_all_but_change_ledgers_by_role() -> None:
    ensure_roles()

    ada = create_operator("ada", password=PASSWORD, roles=["admin"], actor=OLGA, now=NOON)

    assert ada.is_superuser
    assert all(has_role(ada, role) for role in Role)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"password": "short"}, "password"),
        ({"roles": []}, "roles"),
        ({"roles": ["king"]}, "roles"),
        ({"username": "taken"}, "username"),
    ],
)
def test_operator__with_a_wrong_wish__is_refused(change: dict[str, Any], path: str) -> None:
    ensure_roles()
    create_operator("taken", password=PASSWORD, roles=["viewer"], actor=OLGA, now=NOON)
    wish: dict[str, Any] = {"username": "olga", "password": PASSWORD, "roles": ["viewer"], **change}

    with pytest.raises(BadInput) as refused:
        create_operator(wish.pop("username"), actor=OLGA, now=NOON, **wish)

    assert refused.value.extra["path"] == path
    assert User.objects.count() == 1


def test_people__brought_in__are_known_by_their_numbers_as_written() -> None:
    alice = builders.subscriber(phone="+493090182000", name="Alice")
    people = [
        NewPerson("+49 30 90182000", name="Mallory"),
        NewPerson("+493090182001", name="Bob", carrier="262-03", traits={"staff": True}),
        NewPerson("+49 (0)30 90182001"),
        NewPerson("+12025550123", country="DE"),
    ]

    ids = import_people(people, actor=OLGA, now=NOON)

    assert ids["+49 30 90182000"] == alice.id
    assert ids["+493090182001"] == ids["+49 (0)30 90182001"]
    bob = Subscriber.objects.get(id=ids["+493090182001"])
    assert (bob.name, bob.carrier, bob.country, bob.traits) == ("Bob", "262-03", "DE", {"staff": True})
    assert Subscriber.objects.get(id=ids["+12025550123"]).country == "DE"
    alice.refresh_from_db()
    assert alice.name == "Alice"
    assert AuditEntry.objects.get().detail == {"sent": 4, "new": 2}


def test_people__with_one_wrong_number__are_not_brought_in() -> None:
    with pytest.raises(PhoneInvalid) as refused:
        import_people([NewPerson("+493090182001"), NewPerson("110")], actor=OLGA, now=NOON)

    assert refused.value.extra["path"] == "subscribers[1].phone"
    assert not Subscriber.objects.exists()


def test_people__more_than_a_thousand_at_once__are_refused() -> None:
    with pytest.raises(BadInput):
        import_people([NewPerson("+493090182001")] * 1001, actor=OLGA, now=NOON)


def test_block__can_be_set_and_lifted_again() -> None:
    alice, bob = builders.subscriber(), builders.subscriber()

    block(alice.id, blocked_id=bob.id, now=NOON)
    block(alice.id, blocked_id=bob.id, now=NOON)
    assert Block.objects.filter(blocker=alice, blocked=bob).count() == 1

    unblock(alice.id, blocked_id=bob.id)
    unblock(alice.id, blocked_id=bob.id)
    assert not Block.objects.exists()
    with pytest.raises(BadInput):
        block(alice.id, blocked_id=alice.id, now=NOON)
