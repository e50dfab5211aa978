"""People: what they choose for themselves, and bringing in those that the messenger knows already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from controlplane.accounts.models import Block, Subscriber
from controlplane.accounts.rules.phone import parse_phone
from controlplane.accounts.rules.traits import SubscriberKind
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import BadInput, Refusal

MOST_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody to bring in. An empty country means that of the number."""

    phone: str = field(repr=False)
    country: str = ""
    carrier: str = ""
    kind: str = SubscriberKind.PERSON
    name: str = ""
    language: str = ""
    traits: Mapping[str, Any] = field(default_factory=dict)


def import_people(people: Sequence[NewPerson], *, actor: Actor, now: datetime, reason: str = "") -> dict[str, UUID]:
    """The subscriber ids by the numbers as they were written. A number that is known keeps its row, unchanged.

    Raises a Refusal with the path of the first number that can't be used; then nobody was brought in.
    """
    if len(people) > MOST_AT_ONCE:
        raise BadInput(f"Send at most {MOST_AT_ONCE} subscribers at once.", path="subscribers")
    rows = [_row(person, index, now) for index, person in enumerate(people)]
    with transaction.atomic():
        hashes = [row.phone_hash for row in rows]
        before = Subscriber.objects.filter(phone_hash__in=hashes).count()
        Subscriber.objects.bulk_create(sorted(rows, key=lambda row: bytes(row.phone_hash)), ignore_conflicts=True)
        found = Subscriber.objects.filter(phone_hash__in=hashes).values_list("phone_hash", "id")
        ids = {bytes(phone_hash): id for phone_hash, id in found}
        record(
            "subscribers.imported",
            subject=f"{len(ids) - before} subscribers",
            actor=actor,
            now=now,
            reason=reason,
            detail={"sent": len(people), "new": len(ids) - before},
        )
    return {person.phone: ids[bytes(row.phone_hash)] for person, row in zip(people, rows, strict=True)}


def set_accepts_invites(subscriber_id: UUID, *, accepts: bool) -> None:
    """Whether a call may turn a feature on for this person, from now on."""
    Subscriber.objects.filter(id=subscriber_id).update(accepts_invites=accepts)


def block(blocker_id: UUID, *, blocked_id: UUID, now: datetime) -> None:
    """From now on, calls of `blocked` never ring at `blocker`. An id that nobody has looks the same from outside."""
    if blocker_id == blocked_id:
        raise BadInput("Nobody can block themselves. Name somebody else.", path="subscriber")
    with transaction.atomic():
        both = Subscriber.objects.select_for_update(no_key=True).filter(id__in=[blocker_id, blocked_id]).order_by("id")
        if len(both) == 2:  # neither leaves meanwhile
            Block.objects.bulk_create(
                [Block(blocker_id=blocker_id, blocked_id=blocked_id, created_at=now)], ignore_conflicts=True
            )


def unblock(blocker_id: UUID, *, blocked_id: UUID) -> None:
    """Lets `blocked` call again; nothing happens if there was no block."""
    Block.objects.filter(blocker_id=blocker_id, blocked_id=blocked_id).delete()


def _row(person: NewPerson, index: int, now: datetime) -> Subscriber:
    try:
        number = parse_phone(person.phone, unassigned=settings.ENV.demonstration)
    except Refusal as refusal:
        refusal.extra["path"] = f"subscribers[{index}].phone"
        raise
    return Subscriber(
        phone_hash=settings.KEYS.phone_hash(number.e164),
        phone_sealed=settings.KEYS.seal_phone(number.e164),
        country=person.country or number.country,
        carrier=person.carrier,
        kind=person.kind,
        name=person.name,
        language=person.language,
        traits=dict(person.traits),
        joined_at=now,
    )
