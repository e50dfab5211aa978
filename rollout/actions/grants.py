"""Grants by an operator's hand: given to named people, frozen and thawed, and taken back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, NotFound
from controlplane.outbox.actions import enqueue, nudge
from rollout.errors import FeatureUnknown, GrantNotLive
from rollout.models import Feature, Grant, GrantState, Reservation, Source
from rollout.rules.decision.grant import LIVE
from rollout.rules.definition.feature import Access
from rollout.rules.limits import GRANTS_AT_ONCE
from rollout.rules.spread.standing import grants_ignored


@dataclass(frozen=True, slots=True)
class Given:
    """Ids of the grants that were made, and the people who held one before. `ignored` says why grants give nobody the
    feature now; empty when they do.
    """

    grants: tuple[int, ...]
    already: tuple[UUID, ...]
    ignored: str = ""


@transaction.atomic
def grant_people(
    feature: str,
    *,
    subscribers: Iterable[UUID],
    actor: Actor,
    now: datetime,
    reason: str = "",
    source: Source = Source.OPERATOR,
) -> Given:
    """Everybody named holds a grant afterwards, each as the root of a branch. Whoever had one keeps what they have.

    Raises `FeatureUnknown`, `NotFound` for an unknown subscriber (then nobody is granted), `BadInput` for none or too
    many.
    """
    people = sorted(set(subscribers))
    if not 0 < len(people) <= GRANTS_AT_ONCE:
        raise BadInput(f"Name from 1 to {GRANTS_AT_ONCE:,} people at once.", path="subscribers")
    owner = Feature.objects.filter(key=feature).first()
    if owner is None:
        raise FeatureUnknown(feature)
    with connection.cursor() as cursor:
        cursor.execute("SELECT rollout_grant(%s, %s, %s, %s)", [feature, people, source, actor.name])
        (answer,) = cursor.fetchone()
    told: dict[str, Any] = json.loads(answer) if isinstance(answer, str) else answer
    if told["unknown"]:
        raise NotFound(f"There is no subscriber {', '.join(told['unknown'][:5])}.")
    given = Given(
        grants=tuple(each["grant"] for each in told["granted"]),
        already=tuple(UUID(each) for each in told["already"]),
        ignored=grants_ignored(owner.name, Access(owner.access)),
    )
    record(
        "grants.given",
        subject=f"feature:{feature}",
        actor=actor,
        now=now,
        reason=reason,
        detail={"source": source, "grants": given.grants, "already": len(given.already)},
    )
    transaction.on_commit(nudge)
    return given


@transaction.atomic
def revoke_grant(grant_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Grant:
    """Takes the feature from one person; their branch keeps it. Pending invites of theirs end without a grant.

    Raises `NotFound`, and `GrantNotLive` when it has ended already.
    """
    grant = _locked(grant_id)
    if grant.state not in LIVE:
        raise GrantNotLive(f"Grant {grant_id} is {grant.state} already.")
    return _move(grant, GrantState.REVOKED, "revoked", actor=actor, now=now, reason=reason)


@transaction.atomic
def freeze_grant(grant_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Grant:
    """The person keeps the feature and can bring in nobody; pending invites of theirs end without a grant.

    Raises `NotFound`, and `GrantNotLive` when it isn't active.
    """
    grant = _locked(grant_id)
    if grant.state != GrantState.ACTIVE:
        raise GrantNotLive(f"Grant {grant_id} is {grant.state}: only an active one can be frozen.")
    return _move(grant, GrantState.FROZEN, "frozen", actor=actor, now=now, reason=reason)


@transaction.atomic
def thaw_grant(grant_id: int, *, actor: Actor, now: datetime, reason: str = "") -> Grant:
    """A frozen grant's person can bring in others again. Raises `NotFound`, and `GrantNotLive` when it isn't frozen."""
    grant = _locked(grant_id)
    if grant.state != GrantState.FROZEN:
        raise GrantNotLive(f"Grant {grant_id} is {grant.state}: only a frozen one can be thawed.")
    return _move(grant, GrantState.ACTIVE, "thawed", actor=actor, now=now, reason=reason)


def leave_tombstones(subscriber_id: UUID) -> None:
    """What the person held stays in the invite graph and in the books, without them: whoever they brought in keeps what
    they have. Places that are held for calls of theirs come back as those end. Call it inside a transaction that has
    locked the subscriber, who is about to go.
    """
    held = Grant.objects.filter(subscriber_id=subscriber_id)
    held.live().update(state=GrantState.TOMBSTONE)
    held.update(subscriber=None)
    Reservation.objects.filter(callee_id=subscriber_id).update(callee=None)


def _locked(grant_id: int) -> Grant:
    grant = Grant.objects.select_for_update(no_key=True).filter(pk=grant_id).first()
    if grant is None:
        raise NotFound(f"There is no grant {grant_id}.")
    return grant


def _move(grant: Grant, state: GrantState, verb: str, *, actor: Actor, now: datetime, reason: str) -> Grant:
    grant.state = state
    grant.save(update_fields=["state"])
    enqueue(
        f"grant.{verb}",
        key=f"grant:{grant.pk}:{verb}:{now.isoformat()}",
        payload={"subscriber": str(grant.subscriber_id), "feature": grant.feature.key, "grant": grant.pk},
    )
    record(
        f"grant.{verb}",
        subject=f"grant:{grant.pk}",
        actor=actor,
        now=now,
        reason=reason,
        detail={"feature": grant.feature.key, "subscriber": grant.subscriber_id, "source": grant.source},
    )
    return grant
