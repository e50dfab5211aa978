"""The phone's socket: reconnects, resumes, renews, gives up where it must."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.phone import signaling
from calls.phone.account import Refused
from calls.phone.incoming import Answering, Policy
from calls.phone.leg import Wish
from calls.phone.signaling import BACKOFF_MOST, backoff
from tests.phone.arbiter import Arbiter
from tests.phone.conftest import NUMBERS, OpenPhone


@given(st.integers(0, 100_000), st.floats(0, 1, exclude_max=True))
def test_backoff__any_attempt__stays_within_bounds(attempt: int, draw: float) -> None:
    assert 0.1 <= backoff(attempt, draw) <= 0.1 + BACKOFF_MOST


async def test_request__socket_lost_before_the_answer__is_sent_again_with_the_same_id(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    alice = await phones("alice")
    await phones("bob")
    arbiter.drop_after = "prepare"

    answer = await alice.signaling.request("prepare", callee={"phone": NUMBERS["bob"]}, media="audio")

    assert answer["ticket"] == "t"
    assert [op for _, op, _ in arbiter.requests] == ["prepare"]  # the arbiter saw one request, however often it came
    assert arbiter.hellos[-1]["resume"] == "s"


async def test_request__server_in_passing_trouble__is_repeated_with_the_same_id(
    phones: OpenPhone, arbiter: Arbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signaling, "RETRY_SECONDS", (0.05, 0.1))
    alice = await phones("alice")
    arbiter.problems["alive"] = {"code": "try_again", "status": 503, "detail": "In a moment."}

    with pytest.raises(Refused):
        await alice.signaling.request("alive", call="c1")

    tries = [frame["id"] for _, op, frame in arbiter.requests if op == "alive"]
    assert (len(tries), len(set(tries))) == (3, 1)


async def test_call__socket_lost_in_the_middle__goes_on(phones: OpenPhone, arbiter: Arbiter) -> None:
    alice, bob = await phones("alice"), await phones("bob")
    bob.policy = Policy(Answering.AUTO)
    placing = asyncio.create_task(alice.place({"phone": NUMBERS["bob"]}, Wish()))
    await alice.heard.wait("connected")

    await bob.signaling.drop()
    await alice.call.hang_up()

    assert (await placing).reason == "hangup"
    assert (await bob.heard.wait("ended"))["reason"] == "hangup"  # from the inbox, after the reconnect
    assert bob.heard.names().count("ring") == 1


async def test_events__after_a_restart__begin_after_the_last_one_read(phones: OpenPhone, arbiter: Arbiter) -> None:
    bob = await phones("bob")
    device = bob.identity.device
    await arbiter.send(device, "missed", "c1", **{"from": {"phone": NUMBERS["alice"]}}, media="audio")
    await bob.heard.wait("missed")
    await bob.__aexit__()
    await arbiter.send(device, "grant", "c1", feature="calling", source="invite", words="You can now call.")

    again = await phones("bob")

    grant = await again.heard.wait("grant")
    assert (grant["feature"], grant["source"], grant["words"]) == ("calling", "invite", "You can now call.")
    assert "missed" not in again.heard.names()
    assert again.identity.device == device


async def test_events__the_arbiter_lost_its_inboxes__are_read_from_the_start(
    phones: OpenPhone, arbiter: Arbiter
) -> None:
    bob = await phones("bob")
    bob.identity.mark.last_seq, arbiter.epoch = 50, "e2"

    await bob.signaling.drop()
    while len(arbiter.hellos) < 2 or not bob.signaling.online.is_set():
        await asyncio.sleep(0.02)
    await arbiter.send(bob.identity.device, "grant", "c1", feature="calling")

    assert (await bob.heard.wait("grant"))["feature"] == "calling"
    assert bob.identity.mark.last_seq == 1


async def test_socket__replaced_by_another__stays_closed(phones: OpenPhone, arbiter: Arbiter) -> None:
    bob = await phones("bob")
    arbiter.problems["hello"] = {"code": "socket_replaced", "detail": "Connected elsewhere.", "close": 4409}

    await bob.signaling.drop()

    assert (await bob.heard.wait("socket_stopped"))["code"] == "socket_replaced"
    with pytest.raises(Refused, match="Connected elsewhere"):
        await bob.signaling.request("prepare")


async def test_token__refused_at_hello__is_renewed(phones: OpenPhone, arbiter: Arbiter) -> None:
    bob = await phones("bob", connect=False)
    arbiter.problems["hello"] = {"code": "not_authenticated", "detail": "Expired.", "close": 4401}

    await bob.connect()

    assert arbiter.refreshes == 1
    assert arbiter.hellos[-1]["token"].endswith("/1")


async def test_token__device_revoked__phone_says_so_and_stops(phones: OpenPhone, arbiter: Arbiter) -> None:
    bob = await phones("bob", connect=False)
    arbiter.problems["hello"] = {"code": "not_authenticated", "detail": "Expired.", "close": 4401}
    arbiter.problems["refresh"] = {"code": "not_authenticated", "status": 401}

    with pytest.raises(Refused):
        await bob.connect()

    assert bob.heard.names()[-1] == "socket_stopped"


async def test_token__near_its_end__is_renewed_once_for_all_who_ask(phones: OpenPhone, arbiter: Arbiter) -> None:
    bob = await phones("bob")
    assert bob.identity.tokens is not None
    bob.identity.tokens.issued_at, bob.identity.tokens.expires_at = time.time() - 890, time.time() + 10

    tokens = await asyncio.gather(*(bob.account.access_token() for _ in range(5)))

    assert arbiter.refreshes == 1
    assert set(tokens) == {f"{NUMBERS['bob']}/1"}


async def test_token__that_lives_shortly__isnt_renewed_at_every_use(phones: OpenPhone, arbiter: Arbiter) -> None:
    arbiter.expires_in = 30
    bob = await phones("bob")

    for _ in range(5):
        await bob.account.features()

    assert arbiter.refreshes == 0
