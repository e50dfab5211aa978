"""A call from both ends, without media: who may ring, who answers, how it ends, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from calls.phone import signaling
from calls.phone.incoming import ACTIVATES, Answering, Policy
from calls.phone.leg import Wish
from calls.phone.phone import Phone
from calls.rules.blob import b64, unb64
from tests.phone.arbiter import Arbiter
from tests.phone.conftest import NUMBERS, OpenPhone


def ops(arbiter: Arbiter, phone: Phone) -> list[str]:
    return [op for device, op, _ in arbiter.requests if device == phone.identity.device]


def flipped(blob: str) -> str:
    data = bytearray(unb64(blob))
    data[-1] ^= 1
    return b64(bytes(data))


async def test_call__answered_and_hung_up__both_tell_the_whole_story(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0.05, ref="r1"))
    await bob.heard.wait("ended")

    assert ending.reason == "hangup"
    of_alice = ["calling", "routing", "ringing", "accepted", "media", "connected", "ended"]
    of_bob = ["ring", "answering", "accepted", "media", "connected", "ended"]
    assert sorted(alice.heard.names()[2:]) == sorted(of_alice)
    assert bob.heard.names()[2:] == of_bob
    assert {event.get("ref") for event in alice.heard.events[2:]} == {"r1"}
    assert ops(arbiter, alice) == ["prepare", "invite", "relay", "relay", "connected", "end"]
    assert ops(arbiter, bob) == ["ringing", "accept", "relay", "connected"]


async def test_ring__not_answered_by_the_user__nothing_from_the_network_answers(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    ring = await bob.heard.wait("ring")

    for kind in ("accepted", "connected", "ringing", "relay"):
        await arbiter.send(bob.identity.device, kind, ring["call"], blob="AAAA", device="x")
    await asyncio.sleep(0.1)

    assert ops(arbiter, bob) == ["ringing"]
    await arbiter.finish(ring["call"], "no_answer")
    assert (await placing).reason == "no_answer"


async def test_ring__that_activates__says_so(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    arbiter.activates = True
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))

    ring = await bob.heard.wait("ring")
    await bob.call.hang_up()

    assert (ring["activates"], ring["words"], ring["from"]) == (True, ACTIVATES, NUMBERS["alice"])
    assert (await placing).reason == "declined"


async def test_accept__refused_by_a_closed_window__both_learn_the_cause(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    arbiter.problems["accept"] = {
        "code": "call_over",
        "status": 409,
        "detail": "The window closed while it rang.",
        "reason": "not_activated",
        "cause": "window_closed",
    }
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    ring = await bob.heard.wait("ring")

    bob.call.answer()
    ended = await bob.heard.wait("ended")
    await arbiter.finish(ring["call"], "not_activated", "window_closed")

    assert (ended["reason"], ended["cause"]) == ("not_activated", "window_closed")
    assert ended["words"] == "The window closed while it rang."
    ending = await placing
    assert (ending.reason, ending.cause) == ("not_activated", "window_closed")


async def test_prepare__refused__every_member_of_the_problem_is_told(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice = await phones("alice")
    problem = {
        "code": "cannot_be_called_now",
        "status": 409,
        "detail": "They can't be called right now.",
        "invite": "throttled",
        "retry_at": 1_800_000_000_000,
        "nothing": None,
        "window": {"state": "open"},
    }
    arbiter.problems["prepare"] = problem

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish(ref="7"))

    refused = await alice.heard.wait("refused")
    assert {key: refused[key] for key in problem} == problem
    assert (refused["op"], refused["ref"]) == ("prepare", "7")
    assert (ending.reason, ending.cause) == ("refused", "cannot_be_called_now")
    assert alice.call is None


async def test_caller__hangs_up_while_it_rings__cancels(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await alice.heard.wait("ringing")

    await alice.call.hang_up()

    assert (await placing).reason == "cancelled"
    assert (await bob.heard.wait("ended"))["reason"] == "cancelled"
    assert ops(arbiter, alice)[-1] == "cancel"


async def test_policy__decline_and_answer_after__are_the_users_standing_wish(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.DECLINE)
    declined = await alice.place({"phone": NUMBERS["bob"]}, Wish())
    bob.policy = Policy(Answering.AUTO, after=0.3)

    began = asyncio.get_running_loop().time()
    answered = await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0))

    assert (declined.reason, answered.reason) == ("declined", "hangup")
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_second_call__while_in_one__is_busy_and_doesnt_ring(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob, carol = await phones("alice"), await phones("bob"), await phones("carol")
    bob.policy = Policy(Answering.AUTO)
    talking = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await bob.heard.wait("connected")

    ending = await carol.place({"phone": NUMBERS["bob"]}, Wish())

    assert ending.reason == "busy"
    assert bob.heard.names().count("ring") == 1
    assert not talking.done()
    await alice.call.hang_up()
    await talking


async def test_glare__invite_answered_with_the_others_call__users_own_call_is_the_consent(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")  # bob's policy is manual
    calling = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0.1)))
    ring = await bob.heard.wait("ring")
    assert not bob.call.answered.is_set()
    arbiter.problems["invite"] = {"code": "glare", "status": 409, "detail": "They call you.", "call": ring["call"]}

    merged = await bob.place({"phone": NUMBERS["alice"]}, Wish())

    assert merged.reason == "glare_merged"
    assert (await calling).reason == "hangup"


async def test_glare__with_the_call_of_somebody_else__answers_nothing(phones: OpenPhone, arbiter: Arbiter) -> None:
    _, bob, carol = await phones("alice"), await phones("bob"), await phones("carol")
    calling = asyncio.create_task(carol.place({"phone": NUMBERS["bob"]}, Wish()))
    ring = await bob.heard.wait("ring")
    arbiter.problems["invite"] = {"code": "glare", "status": 409, "detail": "They call you.", "call": ring["call"]}

    await bob.place({"phone": NUMBERS["alice"]}, Wish())
    await asyncio.sleep(0.1)

    assert not bob.call.answered.is_set()
    assert "accept" not in ops(arbiter, bob)
    calling.cancel()


TAMPERED: dict[str, tuple[str, Any]] = {
    "blob changed": ("ring", lambda event: {**event, "blob": flipped(event["blob"])}),
    "another call id": ("ring", lambda event: {**event, "call": "018f2f6e-0000-7000-8000-00000000000c"}),
    "another media": ("ring", lambda event: {**event, "media": "video"}),
    "another lifetime": ("ring", lambda event: {**event, "lifetime": 61}),
    "another subscriber": ("ring", lambda event: {**event, "from": {**event["from"], "subscriber": "x"}}),
    "list not signed": ("ring", lambda event: {**event, "from": {**event["from"], "signature": "AAAA"}}),
    "unsigned device": ("ring", lambda event: {**event, "from": {**event["from"], "device": "x"}}),
    "no blob": ("ring", lambda event: {key: value for key, value in event.items() if key != "blob"}),
    "nobody": ("ring", lambda event: {key: value for key, value in event.items() if key != "from"}),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_ring__tampered_with__never_rings(phones: OpenPhone, arbiter: Arbiter, what: str) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    kind, change = TAMPERED[what]
    arbiter.tamper = lambda seen, event: change(event) if seen == kind else event
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))

    refused = await bob.heard.wait("refused")

    assert (refused["code"], refused["op"]) == ("security_error", "ring")
    assert "ring" not in bob.heard.names()
    assert "accept" not in ops(arbiter, bob)
    placing.cancel()


@pytest.mark.parametrize("what", ["offer changed", "answer changed", "another device", "answer repeated"])
async def test_call__sealed_message_tampered_with__ends_as_security_error(
    phones: OpenPhone, arbiter: Arbiter, what: str
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    kept: list[str] = []

    def tamper(kind: str, event: dict[str, Any]) -> dict[str, Any]:
        if what == "offer changed" and kind == "accepted":
            return {**event, "blob": flipped(event["blob"])}
        if what == "another device" and kind == "accepted":
            return {**event, "device": "018f2f6e-0000-7000-8000-00000000000c"}
        if kind == "relay" and what == "answer changed":
            return {**event, "blob": flipped(event["blob"])}
        if kind == "relay" and what == "answer repeated":  # the answer stands for the confirmation that follows it
            kept.append(event["blob"])
            return {**event, "blob": kept[0]}
        return event

    arbiter.tamper = tamper
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0.05)))
    bob_ended = asyncio.create_task(bob.heard.wait("ended"))

    done, _ = await asyncio.wait({placing, bob_ended}, timeout=5)

    if what == "answer repeated":  # a repeat is dropped, so the call just doesn't come about
        assert "connected" not in alice.heard.names() + bob.heard.names()
    else:
        assert placing in done
        assert placing.result().reason == "security_error"
    placing.cancel()
    bob_ended.cancel()


async def test_ring__same_call_again__is_ignored(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await bob.heard.wait("ring")
    ring = next(event for event in arbiter.inboxes[bob.identity.device] if event["t"] == "ring")
    await arbiter.finish(ring["call"], "no_answer")
    await placing

    again = {key: value for key, value in ring.items() if key not in {"k", "seq", "t", "call", "age_ms"}}
    await arbiter.send(bob.identity.device, "ring", ring["call"], **again)
    await asyncio.sleep(0.1)

    assert bob.heard.names().count("ring") == 1


async def test_ring__older_than_its_ringing_time__is_a_missed_call(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    arbiter.tamper = lambda kind, event: {**event, "age_ms": 45_001} if kind == "ring" else event
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))

    missed = await bob.heard.wait("missed")

    assert missed["peer"] == NUMBERS["alice"]
    assert "ring" not in bob.heard.names()
    placing.cancel()


async def test_changed_account_key__is_visible_and_refuses_auto_accept_until_trusted(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    assert (await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0))).reason == "hangup"
    await alice.__aexit__()
    new_alice = await phones("alice", folder="alice's new phone")

    placing = asyncio.create_task(new_alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0)))
    changed = await bob.heard.wait("key_changed")
    await new_alice.heard.wait("ringing")
    await asyncio.sleep(0.2)

    assert (changed["phone"], changed["change"]) == (NUMBERS["alice"], "key")
    assert not placing.done()
    bob.call.answer()  # the user may
    assert (await placing).reason == "hangup"
    assert bob.identity.trust(NUMBERS["alice"])
    assert (await new_alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0))).reason == "hangup"


async def test_verified_contact__key_changed__the_users_own_call_is_blocked_too(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0))
    assert alice.identity.verify(NUMBERS["bob"])
    await bob.__aexit__()
    await phones("bob", folder="bob's new phone")

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish())

    assert ending.reason == "security_error"
    assert ops(arbiter, alice).count("invite") == 1


async def test_device_list__goes_back__is_a_security_error(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    old = dict(arbiter.people[NUMBERS["bob"]]["list"])
    await bob.account.publish_list()  # epoch 2
    assert bob.identity.own_list.epoch == 2
    await alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0))

    arbiter.people[NUMBERS["bob"]]["list"] = old

    assert (await alice.place({"phone": NUMBERS["bob"]}, Wish())).reason == "security_error"


async def test_kill__ends_the_running_call_with_its_reason(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    connected = await alice.heard.wait("connected")

    await arbiter.finish(connected["call"], "stopped")

    assert (await placing).reason == "stopped"
    assert (await bob.heard.wait("ended"))["reason"] == "stopped"


async def test_cancel__too_late_since_they_answered__ends_the_call_instead(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice = await phones("alice")
    await phones("bob")
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await alice.heard.wait("ringing")
    arbiter.problems["cancel"] = {"code": "too_late", "status": 409, "detail": "They have answered."}

    await alice.call.hang_up()

    assert (await placing).reason == "hangup"
    assert ops(arbiter, alice)[-2:] == ["cancel", "end"]


async def test_invite__that_the_server_may_have_taken__is_cancelled_by_who_gives_up(
    phones: OpenPhone, arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signaling, "RETRY_SECONDS", (0.01, 0.01))
    alice = await phones("alice")
    await phones("bob")
    arbiter.problems["invite"] = {"code": "try_again", "status": 503, "detail": "In a moment."}

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish())

    assert (ending.reason, ending.cause) == ("refused", "try_again")
    assert ops(arbiter, alice) == ["prepare", "invite", "invite", "invite", "cancel"]


async def test_request__passing_trouble_of_the_server__is_waited_out(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    arbiter.problems["accept"] = {"code": "try_again", "status": 503, "detail": "In a moment."}
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish(seconds=0)))
    await bob.heard.wait("answering")
    await asyncio.sleep(0.2)

    del arbiter.problems["accept"]

    assert (await placing).reason == "hangup"
    assert "refused" not in bob.heard.names()


async def test_media__breaks_because_the_other_side_hung_up__the_arbiters_word_counts(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    connected = await bob.heard.wait("connected")

    bob.call.media.lost.set()  # the other side's goodbye on the media path is quicker than the arbiter
    await asyncio.sleep(0.1)
    await arbiter.finish(connected["call"], "hangup")

    assert (await bob.heard.wait("ended"))["reason"] == "hangup"
    assert (await placing).reason == "hangup"


async def test_media__breaks_and_nobody_hung_up__ends_as_media_lost_for_both(
    phones: OpenPhone, arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.phone.call.LAST_WORDS_SECONDS", 0.05)
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await bob.heard.wait("connected")

    bob.call.media.lost.set()

    assert (await bob.heard.wait("ended"))["reason"] == "media_lost"
    assert (await placing).reason == "media_lost"


async def test_alive__while_connected__is_said_with_the_ticket_and_learns_of_an_end(
    phones: OpenPhone, arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.phone.call.ALIVE_SECONDS", 0.05)
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await alice.heard.wait("connected")
    await asyncio.sleep(0.2)

    said = [frame for device, op, frame in arbiter.requests if op == "alive" and device == alice.identity.device]
    over = {"code": "call_over", "status": 409, "detail": "Stopped for everybody.", "reason": "stopped", "cause": None}
    arbiter.problems["alive"] = over

    assert len(said) >= 2
    assert {frame["ticket"] for frame in said} == {"t"}
    ending = await placing
    assert (ending.reason, ending.words) == ("stopped", "Stopped for everybody.")


async def test_relay__refused_for_good__ends_the_call_at_the_arbiter_too(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    arbiter.problems["relay"] = {"code": "rate_limited", "status": 429, "detail": "Too many."}

    ending = await alice.place({"phone": NUMBERS["bob"]}, Wish())

    assert (ending.reason, ending.cause) == ("setup_failed", "rate_limited")
    assert (await bob.heard.wait("ended"))["reason"] == "setup_failed"
