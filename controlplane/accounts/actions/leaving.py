"""People who leave: by their own wish, by an operator's hand, or since their number belongs to somebody else by now.

Nothing of them stays but what others count on. What other parts hold of a person is theirs to let go of: `unlink` is
called with the subscriber's id, inside the transaction that has locked the row, before the row goes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from controlplane.accounts.actions.devices import revoke_device
from controlplane.accounts.models import Device, OneTimeCode, Subscriber
from controlplane.accounts.rules.phone import parse_phone
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import NotFound

log = structlog.get_logger(__name__)

Unlink = Callable[[UUID], None]


@transaction.atomic
def delete_person(subscriber_id: UUID, *, unlink: Unlink, actor: Actor, now: datetime, reason: str = "") -> None:
    """Number, name, traits, keys, lists, devices, tokens and blocks of the person are gone. Raises NotFound."""
    person = _locked(subscriber_id)
    record("subscriber.deleted", subject=f"subscriber:{subscriber_id}", actor=actor, now=now, reason=reason)
    _erase(person, unlink=unlink, now=now)


@transaction.atomic
def recycle_number(subscriber_id: UUID, *, unlink: Unlink, actor: Actor, now: datetime, reason: str = "") -> Subscriber:
    """The new person to whom the number belongs from now on; of the one before, nothing shows. Raises NotFound."""
    person = _locked(subscriber_id)
    country = parse_phone(settings.KEYS.unseal_phone(bytes(person.phone_sealed)), unassigned=True).country
    return start_anew(person, country=country, unlink=unlink, actor=actor, now=now, reason=reason)


def start_anew(
    person: Subscriber, *, country: str, unlink: Unlink, actor: Actor, now: datetime, reason: str
) -> Subscriber:
    """A new person with this one's number, who is gone. Call it inside a transaction that has locked the row."""
    old, phone_hash, phone_sealed = person.id, bytes(person.phone_hash), bytes(person.phone_sealed)
    _erase(person, unlink=unlink, now=now)
    new = Subscriber.objects.create(phone_hash=phone_hash, phone_sealed=phone_sealed, country=country, joined_at=now)
    subject, detail = f"subscriber:{old}", {"new": new.id}
    record("subscriber.recycled", subject=subject, actor=actor, now=now, reason=reason, detail=detail)
    return new


def _locked(subscriber_id: UUID) -> Subscriber:
    person = Subscriber.objects.select_for_update().filter(id=subscriber_id).first()
    if person is None:
        raise NotFound(f"There is no subscriber {subscriber_id}.")
    return person


def _erase(person: Subscriber, *, unlink: Unlink, now: datetime) -> None:
    for device in Device.objects.live().filter(subscriber=person).order_by("id"):
        revoke_device(device.id, now=now)
    unlink(person.id)
    OneTimeCode.objects.filter(phone_hash=person.phone_hash).delete()
    subscriber = str(person.id)
    person.delete()
    log.info("subscriber.erased", subscriber=subscriber)
