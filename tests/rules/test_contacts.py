"""Whom a phone recognises: every way in which a number and an account key can differ from what was remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from calls.rules.contacts import (
    Change,
    Claim,
    Contact,
    plain_number,
    recognise,
    remembered,
    words_of,
)
from calls.rules.devices import Comparison, DeviceKeys, DeviceList, pin_of

BOBS, NEW, MALLORYS = b"\1" * 32, b"\2" * 32, b"\3" * 32
BOB, MALLORY = "018f2f6e-0000-7000-8000-00000000000b", "018f2f6e-0000-7000-8000-00000000000c"
BOBS_NUMBER, OTHER_NUMBER = "+4915200000002", "+4915200000666"

CASES: dict[str, tuple[tuple[str, bytes, int, str | None], str, str | None]] = {
    "the same": ((BOB, BOBS, 2, BOBS_NUMBER), "same", None),
    "a longer list": ((BOB, BOBS, 3, BOBS_NUMBER), "newer", None),
    "called by account, not by number": ((BOB, BOBS, 2, None), "same", None),
    "nobody whom we know": ((MALLORY, MALLORYS, 1, OTHER_NUMBER), "first_seen", None),
    "the account has a new key": ((BOB, NEW, 3, BOBS_NUMBER), "key_changed", "key"),
    "the new key's list is shorter": ((BOB, NEW, 1, BOBS_NUMBER), "key_changed", "key"),
    "the new key's list has the same number": ((BOB, NEW, 2, BOBS_NUMBER), "key_changed", "key"),
    "the number stands for another account": ((MALLORY, MALLORYS, 1, BOBS_NUMBER), "key_changed", "number"),
    "the account has another number": ((BOB, BOBS, 2, OTHER_NUMBER), "key_changed", "moved"),
    "the key stands for another account": ((MALLORY, BOBS, 1, BOBS_NUMBER), "key_changed", "moved"),
    "account and number, and a new key": ((BOB, NEW, 3, OTHER_NUMBER), "key_changed", "key"),
}
"""What is claimed (subscriber, account key, epoch, number), how it stands to bob (epoch 2), and what has changed."""


def listed(subscriber: str, key: bytes, epoch: int) -> DeviceList:
    device = DeviceKeys("11111111-1111-4111-8111-111111111111", b"\4" * 32, b"\5" * 32)
    before = DeviceList(subscriber, key, epoch - 1, b"\6" * 32, (device,))
    previous = b"" if epoch == 1 else pin_of(before).digest if epoch == 3 else b"\6" * 32
    return DeviceList(subscriber, key, epoch, previous, (device,))


def bob(**more: object) -> Contact:
    return replace(Contact(BOBS_NUMBER, BOB, pin_of(listed(BOB, BOBS, 2))), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("verified", [False, True])
def test_recognise__what_is_claimed__says_what_has_changed(case: str, verified: bool) -> None:
    (subscriber, key, epoch, phone), comparison, change = CASES[case]

    found = recognise([bob(verified=verified)], listed(subscriber, key, epoch), phone)

    assert (found.comparison, found.change) == (comparison, change)
    assert found.verified is (verified and comparison in {"same", "newer"})
    assert found.must_agree is (verified and change is not None)


@pytest.mark.parametrize("case", [case for case, (_, _, change) in CASES.items() if change])
def test_recognise__a_change_that_the_user_agreed_to__is_a_first_contact_and_no_other_is(case: str) -> None:
    (subscriber, key, epoch, phone), _, _ = CASES[case]
    agreed = bob(verified=True, rival=Claim(phone, subscriber, key), agreed=True)

    found = recognise([agreed], listed(subscriber, key, epoch), phone)
    other = recognise([agreed], listed(subscriber, b"\7" * 32, epoch), phone)

    assert (found.comparison, found.change, found.verified) == (Comparison.FIRST_SEEN, None, False)
    assert found.touched == (agreed,)
    assert other.change is not None or not other.touched


def test_remembered__a_contact_again__keeps_the_number_and_the_comparison() -> None:
    longer = listed(BOB, BOBS, 3)
    found = recognise([bob(verified=True)], longer, None)

    kept = remembered(found, longer, None)

    assert (kept.phone, kept.verified, kept.pin) == (BOBS_NUMBER, True, pin_of(longer))


def test_remembered__after_the_user_agreed__is_the_new_one_and_not_compared() -> None:
    claimed = listed(MALLORY, MALLORYS, 1)
    agreed = bob(verified=True, rival=Claim(BOBS_NUMBER, MALLORY, MALLORYS), agreed=True)

    kept = remembered(recognise([agreed], claimed, BOBS_NUMBER), claimed, BOBS_NUMBER)

    assert kept == Contact(BOBS_NUMBER, MALLORY, pin_of(claimed))


@pytest.mark.parametrize("change", Change)
def test_words__of_every_change__name_who_and_say_what_to_do(change: Change) -> None:
    words = words_of(change, BOBS_NUMBER)

    assert BOBS_NUMBER in words
    assert "compare the safety number" in words


@pytest.mark.parametrize("written", ["+49 152 0000-0002", "0049(152)00000002", " +49/152.00000002", "+4915200000002"])
def test_plain_number__any_separators__are_the_same_number(written: str) -> None:
    assert plain_number(written) == BOBS_NUMBER
