"""People who leave: what they held stays in the invite graph and in the books, without them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from controlplane.accounts.actions.leaving import delete_person, recycle_number
from controlplane.accounts.models import Block, Device, OneTimeCode, Subscriber
from controlplane.audit.models import AuditEntry
from controlplane.base.refusal import NotFound
from controlplane.outbox.models import Outbox
from rollout.actions.grants import leave_tombstones
from rollout.models import Grant, GrantState, Reservation, Window
from rollout.questions.explain import explain
from rollout.questions.invite_tree import invite_tree
from rollout.questions.windows import count_window
from tests import builders
from tests.rollout import cast

pytestmark = pytest.mark.django_db


def leave(person: Subscriber | UUID) -> None:
    delete_person(
        getattr(person, "pk", person), unlink=leave_tombstones, actor=cast.OPERATOR, now=timezone.now(), reason="Left."
    )


def invited(inviter: Subscriber, callee: Subscriber) -> Grant:
    assert cast.complete(cast.reserve(inviter, callee)[2])[0] == "granted"
    return Grant.objects.live().get(subscriber=callee)


def test_inviter__who_leaves__stays_in_the_graph_without_a_person() -> None:
    it = cast.launch()
    hers = it.root
    bobs = invited(it.alice, it.bob)

    leave(it.alice)

    hers.refresh_from_db()
    assert (hers.state, hers.subscriber_id, hers.source) == (GrantState.TOMBSTONE, None, "operator")
    bobs.refresh_from_db()
    assert (bobs.state, bobs.parent_id, bobs.root, bobs.depth) == ("active", hers.pk, hers.pk, 1)
    tree = invite_tree(hers)
    assert (tree.below, [branch.grant.pk for branch in tree.children]) == (1, [bobs.pk])
    assert explain(it.bob, cast.CALLS, now=timezone.now())["grant"]["inviter"] is None
    invited(it.bob, it.carol)
    assert cast.faults_in_books() == []


def test_window__whose_people_left__is_counted_and_reported_as_before() -> None:
    it = cast.launch()
    invited(it.alice, it.bob)
    invited(it.bob, it.carol)
    cast.reserve(it.alice, it.dave)
    cast.close(it.window.pk)
    window = Window.objects.get()
    before = count_window(window, now=timezone.now())

    for person in (it.alice, it.bob, it.dave):
        leave(person)

    assert count_window(Window.objects.get(), now=timezone.now()) == before
    cast.sweep()
    assert cast.faults_in_books() == []
    assert Reservation.objects.filter(callee=None).count() == 2


@pytest.mark.parametrize("who", ["callee", "inviter"])
def test_call__one_of_whose_people_left_while_it_rang__makes_no_grant_and_gives_its_place_back(who: str) -> None:
    it = cast.launch()
    _, _, call = cast.reserve(it.alice, it.bob)

    leave(it.bob if who == "callee" else it.alice)
    outcome, _ = cast.complete(call)

    assert outcome == ("no_reservation" if who == "callee" else "inviter_frozen")
    window = Window.objects.get()
    assert (window.used, window.pending) == (0, 0)
    assert cast.faults_in_books() == []


def test_person__who_leaves__leaves_nothing_of_them_behind() -> None:
    it = cast.launch()
    it.alice.name, it.alice.traits = "Alice Liddell", {"plan": "gold"}
    it.alice.save()
    device = builders.device(it.alice, label="Alice's phone")
    Block.objects.create(blocker=it.alice, blocked=it.bob)
    Block.objects.create(blocker=it.carol, blocked=it.alice)
    number = bytes(it.alice.phone_hash)
    values = {"phone_hash": number, "phone_sealed": b"", "country": "DE", "code_hash": b""}
    OneTimeCode.objects.create(**values, sent_at=timezone.now(), expires_at=timezone.now())

    leave(it.alice)

    told = Outbox.objects.get(kind="device.revoked").payload
    assert told == {"subscriber": str(it.alice.pk), "device": str(device.pk)}
    for model in apps.get_app_config("accounts").get_models():
        for row in model.objects.values():
            assert not {number, it.alice.pk, device.pk} & set(map(_hashable, row.values())), (model, row)
    audited = AuditEntry.objects.get(verb="subscriber.deleted")
    assert (audited.subject, audited.reason) == (f"subscriber:{it.alice.pk}", "Left.")
    with pytest.raises(NotFound):
        leave(it.alice.pk)


def _hashable(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else repr(value) if isinstance(value, dict | list) else value


def test_number__that_is_recycled__belongs_to_a_new_person_with_nothing() -> None:
    it = cast.launch()
    it.bob.country, it.bob.accepts_invites, it.bob.name = "FR", False, "Bob"
    it.bob.save()
    invited(it.alice, it.carol)
    cast.grant(it.feature, it.bob)
    Block.objects.create(blocker=it.carol, blocked=it.bob)

    new = recycle_number(
        it.bob.pk, unlink=leave_tombstones, actor=cast.OPERATOR, now=timezone.now(), reason="Its network says so."
    )

    assert new.pk != it.bob.pk
    assert not Subscriber.objects.filter(pk=it.bob.pk).exists()
    new.refresh_from_db()
    assert bytes(new.phone_hash) == bytes(it.bob.phone_hash)
    assert (new.country, new.accepts_invites, new.name) == ("DE", True, "")
    assert not Grant.objects.filter(subscriber=new).exists()
    assert not Block.objects.exists()
    assert not Device.objects.filter(subscriber=new).exists()
    assert AuditEntry.objects.get(verb="subscriber.recycled").detail == {"new": str(new.pk)}
    assert cast.faults_in_books() == []


def test_database__refuses_a_live_grant_without_a_person() -> None:
    it = cast.launch()

    with pytest.raises(ProtectedError):
        it.alice.delete()
    for state in ("active", "frozen"):
        with pytest.raises(IntegrityError, match="live_grant_has_its_person"), transaction.atomic():
            Grant.objects.filter(pk=it.root.pk).update(subscriber=None, state=state)


def test_demand__for_somebody_who_left__is_as_for_nobody() -> None:
    it = cast.launch()
    leave(it.bob)

    gone, nobody = (cast.reserve(it.alice, whom)[:2] for whom in (it.bob.pk, uuid4()))

    assert gone[0] == nobody[0] == "callee_ineligible"
