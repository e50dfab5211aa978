"""Whom a phone remembers: which account key answers under which number. The web phone's contacts.js decides the same.

A *changed key* is any difference between a number and an account key that belonged together: the account's key is new,
the number answers with another account, or the account has another number. The server can't hide one of them, since
each phone remembers the pair by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from calls.rules.devices import Comparison, DeviceList, Pin, compare, pin_of


class Change(StrEnum):
    """What is no longer as it was remembered."""

    KEY = "key"  # the account has a new key
    NUMBER = "number"  # the number answers with another account
    MOVED = "moved"  # the account has another number, or its key stands for another account


WORDS = {
    Change.KEY: "The safety number of {who} has changed: a new phone, or somebody in between.",
    Change.NUMBER: "{who} answers with another account than before: the number has a new owner, or somebody pretends.",
    Change.MOVED: "{who} is an account that you know under another number: a new number, or somebody pretends.",
}
ADVICE = "Ask them over another way, and compare the safety number."


@dataclass(frozen=True, slots=True)
class Claim:
    """A number (None: not known) that came with an account and its key."""

    phone: str | None
    subscriber: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody whose keys a call proved. `rival` is the last claim that differs, `agreed` the user's word to it."""

    phone: str | None
    subscriber: str
    pin: Pin
    verified: bool = False
    rival: Claim | None = None
    agreed: bool = False

    def is_called(self, who: str) -> bool:
        """Whether a user who says `who` (a number or a subscriber id) may mean this contact."""
        names = {self.phone, self.subscriber}
        return who in (names | {self.rival.phone, self.rival.subscriber} if self.rival else names)


@dataclass(frozen=True, slots=True)
class Recognised:
    """How a claim stands to what is remembered. `touched` are the contacts that it agrees with or replaces."""

    comparison: Comparison
    change: Change | None
    touched: tuple[Contact, ...]

    @property
    def is_first(self) -> bool:
        return self.comparison is Comparison.FIRST_SEEN

    @property
    def verified(self) -> bool:
        """The user compared the safety number of this very account."""
        return self.change is None and not self.is_first and self.touched[0].verified

    @property
    def must_agree(self) -> bool:
        """Something changed about somebody whom the user had compared."""
        return self.change is not None and any(contact.verified for contact in self.touched)


def recognise(contacts: Iterable[Contact], listed: DeviceList, phone: str | None) -> Recognised:
    """Compare a verified list, and the number that it came with, with what is remembered.

    A change that the user has agreed to counts as seen for the first time.
    """
    claim = Claim(phone, listed.subscriber, listed.account_key)
    touched = tuple(contact for contact in contacts if _touches(contact, claim))
    change = _change(touched, claim)
    if change is None:
        return Recognised(compare(listed, touched[0].pin if touched else None), None, touched)
    if all(contact.agreed and contact.rival == claim for contact in touched):
        return Recognised(Comparison.FIRST_SEEN, None, touched)
    return Recognised(Comparison.KEY_CHANGED, change, touched)


def remembered(found: Recognised, listed: DeviceList, phone: str | None) -> Contact:
    """The contact that takes the place of all that `found` touched, once the keys are proved."""
    known = next((contact.phone for contact in found.touched if contact.phone), None)
    return Contact(phone or known, listed.subscriber, pin_of(listed), found.verified)


def plain_number(written: str) -> str:
    """A number without the separators that people write, and with + for 00. The server reads the rest."""
    return re.sub(r"\A00", "+", re.sub(r"[\s()./-]", "", written))


def words_of(change: Change, who: str) -> str:
    """What changed and what to do, for people."""
    return f"{WORDS[change].format(who=who)} {ADVICE}"


def _touches(contact: Contact, claim: Claim) -> bool:
    same_number = claim.phone is not None and contact.phone == claim.phone
    return same_number or contact.subscriber == claim.subscriber or contact.pin.account_key == claim.key


def _change(touched: tuple[Contact, ...], claim: Claim) -> Change | None:
    others = [contact for contact in touched if contact.pin.account_key != claim.key]
    if any(contact.subscriber == claim.subscriber for contact in others):
        return Change.KEY
    if others:
        return Change.NUMBER
    for contact in touched:
        moved = None not in {contact.phone, claim.phone} and contact.phone != claim.phone
        if moved or contact.subscriber != claim.subscriber:
            return Change.MOVED
    return None
