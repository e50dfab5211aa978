"""Web phones on a whole Rollcall of their own: the real edge, stores and workers, real browsers, real media."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext

from story.stack import Stack
from tests.browser.chromium import executable, launched
from tests.browser.python_phone import python_phone
from tests.browser.web_phone import WebPhone

pytestmark = [pytest.mark.browser, pytest.mark.stack]

FEATURE = "voice-calls"
ALICE_TONE, BOB_TONE = 500, 900
NUMBERS = itertools.count(7000)


@pytest.fixture
def stack(demonstration: Stack) -> Stack:
    """A demonstration with a window open."""
    executable()
    open_window(demonstration)
    return demonstration


def open_window(stack: Stack) -> None:
    """Whoever has calling may bring others in by calling them."""
    if any(window["state"] == "open" and window["feature"] == FEATURE for window in stack.operator.all("windows")):
        return
    terms = {"feature": FEATURE, "name": "web phones", "places": 100, "quota": 20, "open": True}
    stack.operator.post("windows", {**terms, "reason": "tests of the web phone"})


def new_number() -> str:
    """A number that nobody has yet, of a range that is kept for films."""
    return f"+49309018{next(NUMBERS):04d}"


@pytest.fixture
async def context() -> AsyncIterator[BrowserContext]:
    async with launched() as browser:
        yield await browser.new_context(permissions=["microphone"], viewport={"width": 390, "height": 800})


async def web_phone(stack: Stack, context: BrowserContext, name: str, tone: int, *, enabled: bool) -> WebPhone:
    """A signed-in window of somebody new, who has calling or has it not."""
    phone = await WebPhone.open(context, stack.url, name, new_number(), tone=tone)
    await phone.sign_in()
    if enabled:
        subscriber = await phone.subscriber()
        grant = {"feature": FEATURE, "subscribers": [subscriber], "reason": "tests of the web phone"}
        await asyncio.to_thread(stack.operator.post, "grants", grant)
        await phone.until("mayCall", True)
    return phone


async def test_two_windows__alice_calls_bob__sound_both_ways_and_bob_may_call(
    stack: Stack, context: BrowserContext
) -> None:
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    bob = await web_phone(stack, context, "bob", BOB_TONE, enabled=False)
    await bob.call(alice.number)
    await bob.until("state", "ended")
    assert await bob.knows("lastRefusal") == "not_enabled"
    assert "Calling isn't on for you yet" in await bob.words()
    await bob.press("Done")

    await alice.call(bob.number)
    await bob.until("state", "incoming")
    assert "Answering turns calling on for you" in await bob.words()
    await bob.press("Answer")
    for phone in (alice, bob):
        await phone.until("state", "connected")

    await alice.hears(BOB_TONE, not_this=ALICE_TONE)
    await bob.hears(ALICE_TONE, not_this=BOB_TONE)
    assert "You can now call, and invite others" in await bob.words()
    number = await alice.until("safetyNumber", lambda digits: digits is not None)
    assert number == await bob.until("safetyNumber", lambda digits: digits is not None)

    await alice.press("Hang up")
    assert (await bob.until("ended", lambda ended: ended is not None))["reason"] == "hangup"
    await bob.press("Done")
    await bob.until("mayCall", True)
    assert "You can call, with voice" in await bob.words()
    assert alice.errors == bob.errors == []


async def test_not_now__on_the_real_stack__grants_nothing(stack: Stack, context: BrowserContext) -> None:
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    bob = await web_phone(stack, context, "bob", BOB_TONE, enabled=False)

    await alice.call(bob.number)
    await bob.until("state", "incoming")
    await bob.press("Not now")

    assert (await alice.until("ended", lambda ended: ended is not None))["reason"] == "declined"
    await bob.press("Done")
    await bob.call(alice.number)
    await bob.until("state", "ended")
    assert await bob.knows("lastRefusal") == "not_enabled"


async def test_both__call_each_other_at_once__are_in_one_call(stack: Stack, context: BrowserContext) -> None:
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    bob = await web_phone(stack, context, "bob", BOB_TONE, enabled=True)

    await asyncio.gather(alice.call(bob.number), bob.call(alice.number))

    for phone in (alice, bob):
        await phone.until("state", lambda state: state in ("connected", "incoming"))
    for phone in (alice, bob):
        if await phone.knows("state") == "incoming":
            await phone.press("Answer")
    for phone in (alice, bob):
        await phone.until("state", "connected")
    assert await alice.knows("call") == await bob.knows("call")


async def test_web_phone__calls_the_python_phone__each_hears_the_other(
    stack: Stack, context: BrowserContext, tmp_path: Path
) -> None:
    web = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    async with python_phone(stack.url, tmp_path / "phone", new_number()) as python:
        python.do("set", answer="auto", tone=BOB_TONE, record=str(tmp_path / "heard.wav"))

        await web.call(python.number)
        await web.until("state", "connected", seconds=30)
        await web.hears(BOB_TONE, not_this=ALICE_TONE)
        await asyncio.sleep(2)
        python.do("safety", who=web.number)
        safety = (await python.until("safety"))["number"]
        assert await web.until("safetyNumber", lambda digits: digits is not None) == safety
        await web.press("Hang up")

        assert (await python.until("ended"))["reason"] == "hangup"
        assert web.errors == []
    assert python.seconds_heard(tmp_path / "heard.wav", ALICE_TONE) >= 1.5
    assert python.seconds_heard(tmp_path / "heard.wav", BOB_TONE) == 0


async def test_python_phone__calls_the_web_phone__each_hears_the_other(
    stack: Stack, context: BrowserContext, tmp_path: Path
) -> None:
    web = await web_phone(stack, context, "bob", BOB_TONE, enabled=False)
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    async with python_phone(stack.url, tmp_path / "phone", new_number()) as python:
        python.do("set", answer="auto")
        await alice.call(python.number)
        await python.until("grant")
        await alice.press("Hang up")
        await python.until("ended")

        python.do("call", to=web.number, tone=ALICE_TONE, record=str(tmp_path / "heard.wav"))
        await web.until("state", "incoming")
        await web.press("Answer")
        await web.until("state", "connected", seconds=30)
        await web.hears(ALICE_TONE, not_this=BOB_TONE)
        await asyncio.sleep(2)
        python.do("hangup")

        assert (await web.until("ended", lambda ended: ended is not None))["reason"] == "hangup"
        assert web.errors == []
    assert python.seconds_heard(tmp_path / "heard.wav", BOB_TONE) >= 1.5
    assert python.seconds_heard(tmp_path / "heard.wav", ALICE_TONE) == 0


async def test_window__closed_while_it_rings__turns_nothing_on_and_both_screens_say_why(
    stack: Stack, context: BrowserContext
) -> None:
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    bob = await web_phone(stack, context, "bob", BOB_TONE, enabled=False)
    await alice.call(bob.number)
    await bob.until("state", "incoming")

    for window in await asyncio.to_thread(stack.operator.all, "windows"):
        if window["state"] == "open":
            await asyncio.to_thread(stack.operator.post, f"windows/{window['id']}/close", {"reason": "a test"})
    await bob.press("Answer")

    for phone in (alice, bob):
        ended = await phone.until("ended", lambda ended: ended is not None)
        assert ended == {"reason": "not_activated", "cause": "window_closed"}
        words = await phone.words()
        # The answer to the accept and the event of the end race each other; each says it in words of its own.
        assert "Calling was not turned on" in words or "could not turn calling on" in words
        assert "window" in words
    await bob.press("Done")
    assert not await bob.knows("mayCall")
    await asyncio.to_thread(open_window, stack)


async def test_kill__with_a_call_running__ends_it_in_words_on_both_screens(
    stack: Stack, context: BrowserContext
) -> None:
    alice = await web_phone(stack, context, "alice", ALICE_TONE, enabled=True)
    bob = await web_phone(stack, context, "bob", BOB_TONE, enabled=True)
    await alice.call(bob.number)
    await bob.until("state", "incoming")
    await bob.press("Answer")
    for phone in (alice, bob):
        await phone.until("state", "connected")

    kill = {"end_calls": True, "reason": "tests of the web phone"}
    await asyncio.to_thread(stack.operator.post, f"features/{FEATURE}/kill", kill)
    try:
        for phone in (alice, bob):
            assert (await phone.until("ended", lambda ended: ended is not None))["reason"] == "stopped"
            assert "Calls are stopped" in await phone.words()
        await alice.press("Call again")
        await alice.until("lastRefusal", "stopped")
    finally:
        await asyncio.to_thread(stack.operator.post, f"features/{FEATURE}/unkill", {"reason": "the test is over"})
