"""Registration: a code is sent to a number, and whoever knows the code is its subscriber."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Max

from controlplane.accounts.actions.devices import NewDevice, current_list, register_device
from controlplane.accounts.actions.leaving import Unlink, start_anew
from controlplane.accounts.actions.limits import address_block, current_limits, spend
from controlplane.accounts.actions.tokens import Session, start_session
from controlplane.accounts.errors import CodeLimit, CodeRefused, CodesPaused, PhoneNotServed
from controlplane.accounts.ids import uuid7
from controlplane.accounts.limits import Limit
from controlplane.accounts.models import Device, OneTimeCode, Subscriber
from controlplane.accounts.rules import account_proof, one_time_code, recycling
from controlplane.accounts.rules.device_list import DeviceKeys
from controlplane.accounts.rules.phone import PhoneNumber, parse_phone
from controlplane.accounts.senders import current_sender
from controlplane.audit.record import Actor

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the phone learns of a code that was sent. `code` is only ever shown in a demonstration."""

    id: UUID
    phone: str = field(repr=False)
    expires_in: int
    resend_after: int
    code: str = field(repr=False)


def begin(phone: str, *, address: str, now: datetime) -> Challenge:
    """Sends a code to the number. Nothing here depends on whether the number is known, so the answer can't tell.

    Raises PhoneInvalid, PhoneNotServed, CodeLimit and CodesPaused; then nothing was stored or counted.
    """
    number = parse_phone(phone, unassigned=settings.ENV.demonstration)
    allowed = settings.ENV.code_countries
    if allowed and number.country not in allowed:
        raise PhoneNotServed("Numbers of this country can't register here yet.", cause="country")
    code = one_time_code.as_digits(secrets.randbelow(10**one_time_code.DIGITS))
    challenge = uuid7()
    with transaction.atomic():
        _count_send(number, address, now)
        OneTimeCode.objects.create(
            id=challenge,
            phone_hash=settings.KEYS.phone_hash(number.e164),
            phone_sealed=settings.KEYS.seal_phone(number.e164),
            country=number.country,
            code_hash=one_time_code.code_hash(code, challenge, settings.KEYS.code),
            sent_at=now,
            expires_at=now + one_time_code.LIFETIME,
        )
        transaction.on_commit(partial(_send, number.e164, code, challenge))
    seconds = int(one_time_code.LIFETIME.total_seconds())
    resend_after = current_limits().resend.seconds
    return Challenge(challenge, phone=number.e164, expires_in=seconds, resend_after=resend_after, code=code)


def verify(
    challenge: UUID,
    *,
    code: str,
    device: NewDevice,
    carrier: str,
    address: str,
    claims: Callable[[Device], Mapping[str, Any]],
    unlink: Unlink,
    now: datetime,
    account_signature: bytes = b"",
) -> Session:
    """Signs the device in as the subscriber of the number, who is created on the first time; their other devices end.

    A number that was silent for long belongs to a new person, unless the device shows the account's key by
    `account_signature`; `unlink` lets go of the one before. `claims` adds to the access token what other parts know of
    the subscriber. Raises CodeRefused (every wrong guess is counted, and stays counted), CodeLimit and DeviceRefused
    (the code is then still good).
    """
    sent = _count_guess(challenge, code, address, now)
    with transaction.atomic():
        won = OneTimeCode.objects.filter(id=challenge, spent_at__isnull=True).update(spent_at=now)
        if not won:
            raise CodeRefused
        subscriber, created = _subscriber_of(sent, now)
        if _is_somebody_else(subscriber, sent, device, account_signature, now):
            subscriber, created = (
                start_anew(
                    subscriber,
                    country=sent.country,
                    unlink=unlink,
                    actor=Actor.automatic("registration"),
                    now=now,
                    reason=f"The number was silent for {settings.ENV.silent_days} days.",
                ),
                True,
            )
        _learn(subscriber, carrier=carrier, language=device.language)
        signed_in = register_device(device, subscriber=subscriber, now=now)
        session = start_session(signed_in, claims=claims, now=now)
    log.info("subscriber.signed_in", subscriber=str(subscriber.id), device=str(signed_in.id), created=created)
    return session


def _subscriber_of(sent: OneTimeCode, now: datetime) -> tuple[Subscriber, bool]:
    """The number's subscriber, locked, and whether they are new: also where one was deleted in this very moment."""
    defaults = {"phone_sealed": bytes(sent.phone_sealed), "country": sent.country, "joined_at": now}
    while True:
        found, created = Subscriber.objects.get_or_create(phone_hash=bytes(sent.phone_hash), defaults=defaults)
        locked = Subscriber.objects.select_for_update().filter(id=found.id).first()
        if locked is not None:
            return locked, created


def _is_somebody_else(
    subscriber: Subscriber, sent: OneTimeCode, device: NewDevice, signature: bytes, now: datetime
) -> bool:
    seen_at = Device.objects.filter(subscriber=subscriber).aggregate(at=Max("seen_at"))["at"]
    listed, keys = current_list(subscriber.id), DeviceKeys(device.ed25519, device.x25519)
    shown = listed is not None and account_proof.is_shown(
        bytes(listed.account_key), signature, challenge=sent.id, device=device.id, keys=keys
    )
    silent = timedelta(days=settings.ENV.silent_days)
    return recycling.is_somebody_else(seen_at, silent=silent, shows_key=shown, now=now)


def _count_send(number: PhoneNumber, address: str, now: datetime) -> None:
    """Counts one send against every limit, or against none. The world's row comes last: it is held the shortest."""
    catalogue = current_limits()
    counted: tuple[tuple[Limit, str], ...] = (
        (catalogue.address, address_block(address)),
        (catalogue.block, number.block),
        (catalogue.number, number.e164),
        (catalogue.resend, number.e164),
    )
    for limit, subject in counted:
        _spend_or_refuse(limit, subject, now)
    wait = spend(catalogue.world, "", now=now)
    if wait is not None:
        log.error("codes.paused", cap=catalogue.world.cap, retry_after=wait)
        raise CodesPaused("All codes of this day were sent. Try again later.", retry_after=wait)


def _count_guess(challenge: UUID, code: str, address: str, now: datetime) -> OneTimeCode:
    """The code that was sent, if this is it. The try is claimed before comparing: five at once are five tries."""
    with transaction.atomic():
        _spend_or_refuse(current_limits().guesses, address_block(address), now)
        live = OneTimeCode.objects.filter(
            id=challenge, tries__lt=one_time_code.MOST_TRIES, spent_at__isnull=True, expires_at__gt=now
        )
        counted = live.update(tries=F("tries") + 1)
        sent = OneTimeCode.objects.filter(id=challenge).first()
    expected = bytes(sent.code_hash) if sent else b""
    right = one_time_code.is_code(code, challenge, settings.KEYS.code, expected)
    if sent is None or not (counted and right):
        raise CodeRefused
    return sent


def _spend_or_refuse(limit: Limit, subject: str, now: datetime) -> None:
    wait = spend(limit, subject, now=now)
    if wait is not None:
        raise CodeLimit(f"There were too many {limit.words}. Try again in {wait} seconds.", retry_after=wait)


def _learn(subscriber: Subscriber, *, carrier: str, language: str) -> None:
    """The phone knows its carrier and language best; what it doesn't say stays as it was."""
    known = {name: value for name, value in (("carrier", carrier), ("language", language)) if value}
    changed = [name for name, value in known.items() if getattr(subscriber, name) != value]
    for name in changed:
        setattr(subscriber, name, known[name])
    if changed:
        subscriber.save(update_fields=changed)


def _send(e164: str, code: str, challenge: UUID) -> None:
    """A sender that fails is logged; the phone asks again after `resend_after`."""
    try:
        current_sender().send(e164, code)
    except Exception:
        log.exception("code.not_sent", challenge=str(challenge))
