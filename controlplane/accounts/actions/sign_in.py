"""Signing in to the console: attempts are counted before the password is looked at, and each stands in the audit."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.models import User

from controlplane.accounts.actions.limits import address_block, spend
from controlplane.accounts.limits import SIGN_INS
from controlplane.accounts.roles import rights_of
from controlplane.audit.record import Actor, record
from controlplane.base.refusal import TooMany

SIGN_IN = Actor.automatic("sign-in")
NOBODY = "somebody unknown"


def attempt(username: str, address: str, *, now: datetime) -> None:
    """Counts one attempt for the pair, the address and the operator. Raises `TooMany` when one of them has no left."""
    place, name = address_block(address), username.casefold()
    for limit, subject in zip(SIGN_INS, (f"{name} {place}", place, name), strict=True):
        wait = spend(limit, subject, now=now)
        if wait is not None:
            minutes = -(-wait // 60)
            raise TooMany(f"There were too many {limit.words}. Try again in {minutes} min.", retry_after=wait)


def signed_in(user: User, address: str, *, now: datetime) -> None:
    actor = Actor.operator(user.get_username(), rights_of(user))
    record("session.opened", subject=_subject(user.get_username()), actor=actor, now=now, detail={"address": address})


def refused(username: str, address: str, *, now: datetime) -> None:
    """A name that no operator has isn't written down: people type passwords into the wrong field."""
    known = User.objects.filter(username=username).exists()
    subject = _subject(username if known else NOBODY)
    record("session.refused", subject=subject, actor=SIGN_IN, now=now, detail={"address": address})


def _subject(name: str) -> str:
    return f"operator:{name}"
