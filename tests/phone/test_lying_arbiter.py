"""A server that lies about who answers under a number, or about who calls: the phones remember, and prove it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from calls.phone.call import Ending
from calls.phone.incoming import Answering, Policy
from calls.phone.leg import Wish
from calls.phone.phone import Phone
from calls.phone.report import now_ms
from calls.rules.blob import b64
from calls.rules.devices import sign
from tests.phone.arbiter import Arbiter
from tests.phone.conftest import NUMBERS, OpenPhone
from tests.phone.test_calls import ops

AUTO = Policy(Answering.AUTO)


async def call(caller: Phone, callee: str, **wish: float) -> Ending:
    return await caller.place({"phone": NUMBERS[callee]}, Wish(seconds=0, **wish))


async def alice_knows_bob(phones: OpenPhone, *, compared: bool) -> tuple[Phone, Phone, Phone]:
    """alice has called bob; carol is mallory's accomplice: her phone swears to whichever number she is told."""
    alice, bob, carol = await phones("alice"), await phones("bob"), await phones("carol")
    alice.policy = bob.policy = carol.policy = AUTO
    assert (await call(alice, "bob")).reason == "hangup"
    if compared:
        assert alice.identity.verify(NUMBERS["bob"])
    alice.heard.events.clear()
    return alice, bob, carol


@pytest.mark.parametrize("compared", [False, True])
async def test_dialled_number__answered_by_an_accomplice__is_a_changed_key(
    phones: OpenPhone, arbiter: Arbiter, compared: bool
) -> None:
    alice, _, carol = await alice_knows_bob(phones, compared=compared)
    arbiter.answers_for[NUMBERS["bob"]] = NUMBERS["carol"]
    carol.identity.phone = NUMBERS["bob"]

    ending = await call(alice, "bob")

    changed = await alice.heard.wait("key_changed")
    assert (changed["change"], changed["phone"]) == ("number", NUMBERS["bob"])
    assert "another account" in changed["words"]
    if compared:
        assert (ending.reason, "ring" in carol.heard.names()) == ("security_error", False)
    arbiter.answers_for.clear()
    alice.heard.events.clear()
    assert (await call(alice, "bob")).reason == "hangup"  # the lie left nothing behind
    assert "key_changed" not in alice.heard.names()
    assert (await alice.heard.wait("connected"))["compared"] is compared


@pytest.mark.parametrize("compared", [False, True])
async def test_ring__of_an_accomplice_under_a_known_number__is_a_changed_key_and_not_auto_answered(
    phones: OpenPhone, arbiter: Arbiter, compared: bool
) -> None:
    alice, _, carol = await alice_knows_bob(phones, compared=compared)
    arbiter.rings_as[NUMBERS["carol"]] = NUMBERS["bob"]
    carol.identity.phone = NUMBERS["bob"]

    placing = asyncio.create_task(call(carol, "alice"))
    changed = await alice.heard.wait("key_changed")
    ring = await alice.heard.wait("ring")
    await asyncio.sleep(0.2)

    assert changed["change"] == "number"
    assert (ring["from"], ring["compared"]) == (NUMBERS["bob"], False)
    assert not alice.call.answered.is_set()
    alice.call.answer()
    if compared:  # blocked until the user agrees to this very change
        assert not alice.call.answered.is_set()
        assert alice.identity.trust(NUMBERS["bob"])
        alice.call.answer()
    assert (await placing).reason == "hangup"


async def test_ring__under_a_number_that_isnt_the_callers__never_rings(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    arbiter.rings_as[NUMBERS["alice"]] = NUMBERS["carol"]
    placing = asyncio.create_task(call(alice, "bob"))

    refused = await bob.heard.wait("refused")

    assert (refused["code"], refused["op"]) == ("security_error", "ring")
    assert "ring" not in bob.heard.names()
    assert bob.identity.contacts == []
    placing.cancel()


async def test_dialled_number__led_to_somebody_elses_phone__never_rings_there(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, _, carol = await phones("alice"), await phones("bob"), await phones("carol")
    arbiter.answers_for[NUMBERS["bob"]] = NUMBERS["carol"]
    placing = asyncio.create_task(call(alice, "bob"))

    refused = await carol.heard.wait("refused")

    assert (refused["code"], refused["op"]) == ("security_error", "ring")
    assert "ring" not in carol.heard.names()
    placing.cancel()


async def test_account__that_calls_under_another_number__is_a_changed_key(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob, _ = await alice_knows_bob(phones, compared=True)
    arbiter.rings_as[NUMBERS["bob"]] = bob.identity.phone = "+4915200000077"

    placing = asyncio.create_task(call(bob, "alice"))
    changed = await alice.heard.wait("key_changed")

    assert changed["change"] == "moved"
    await alice.heard.wait("ring")
    assert not alice.call.answered.is_set()
    placing.cancel()


async def test_first_contact__either_way__says_that_nobody_has_compared(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = AUTO

    await call(alice, "bob")
    first = (await bob.heard.wait("ring"), await bob.heard.wait("connected"), await alice.heard.wait("connected"))
    assert [event["compared"] for event in first] == [False] * 3
    assert alice.identity.verify(NUMBERS["bob"])
    alice.heard.events.clear()
    await call(alice, "bob")

    assert (await alice.heard.wait("connected"))["compared"] is True


async def test_call__by_account__proves_no_number_and_goes_through(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = AUTO

    ending = await alice.place({"subscriber": bob.identity.subscriber}, Wish(seconds=0))

    assert ending.reason == "hangup"
    assert alice.identity.contact(bob.identity.subscriber).phone is None
    assert bob.identity.contact(NUMBERS["alice"]) is not None


async def test_prepare__for_another_number_than_was_dialled__is_refused_in_words(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice = await phones("alice")
    await phones("bob")
    arbiter.reads[NUMBERS["bob"]] = "+49152"

    ending = await call(alice, "bob")

    assert (ending.reason, ending.cause) == ("refused", "read_otherwise")
    assert "+49152" in ending.words


@pytest.mark.parametrize("seconds", [75, 25 * 3600])
async def test_ring__held_back_or_sent_again__is_a_missed_call_and_never_rings(
    phones: OpenPhone, arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = AUTO
    monkeypatch.setattr("calls.phone.outgoing.now_ms", lambda: now_ms() - seconds * 1000)  # sealed then, rings now
    placing = asyncio.create_task(call(alice, "bob"))

    missed = await bob.heard.wait("missed")

    assert missed["peer"] == NUMBERS["alice"]
    assert "ring" not in bob.heard.names()
    assert ops(arbiter, bob) == []
    placing.cancel()


@pytest.mark.parametrize("agreed", [False, True])
async def test_list__forged_under_the_contacts_own_account__leaves_the_true_one_as_good_as_before(
    phones: OpenPhone, arbiter: Arbiter, agreed: bool
) -> None:
    alice, bob, carol = await alice_knows_bob(phones, compared=True)
    true_list = arbiter.people[NUMBERS["bob"]]["list"]
    forged = replace(carol.identity.own_list, subscriber=bob.identity.subscriber, epoch=99, previous=b"\1" * 32)
    signature = sign(forged.as_bytes(), carol.identity.keys.account)
    arbiter.people[NUMBERS["bob"]]["list"] = {"list": b64(forged.as_bytes()), "signature": b64(signature)}

    assert (await call(alice, "bob")).reason == "security_error"
    if agreed:
        assert alice.identity.trust(NUMBERS["bob"])
        with contextlib.suppress(TimeoutError):  # the forged device isn't bob's: nobody can answer
            await asyncio.wait_for(call(alice, "bob"), 1)
    arbiter.people[NUMBERS["bob"]]["list"] = true_list

    assert (await call(alice, "bob")).reason == "hangup"
    assert alice.identity.contact(NUMBERS["bob"]).verified


async def test_clock__far_from_the_servers__says_so(phones: OpenPhone, arbiter: Arbiter) -> None:
    arbiter.server_time = now_ms() + 90_000

    alice = await phones("alice")

    wrong = await alice.heard.wait("clock_wrong")
    assert -92 <= wrong["ahead_seconds"] <= -88
    assert "set it" in wrong["words"]


async def test_contacts__survive_the_phones_restart_with_what_was_agreed(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, _, carol = await alice_knows_bob(phones, compared=True)
    arbiter.answers_for[NUMBERS["bob"]] = NUMBERS["carol"]
    carol.identity.phone = NUMBERS["bob"]
    assert (await call(alice, "bob")).reason == "security_error"
    assert alice.identity.trust(NUMBERS["bob"])
    kept = list(alice.identity.contacts)
    await alice.__aexit__()

    again = await phones("alice")

    assert again.identity.contacts == kept
    assert (await call(again, "bob")).reason == "hangup"
    assert again.identity.contact(NUMBERS["bob"]).subscriber == carol.identity.subscriber
    assert not again.identity.contact(NUMBERS["bob"]).verified
