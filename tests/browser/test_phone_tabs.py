"""One phone in several tabs, and pages that are closed or loaded anew during a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from playwright.async_api import Dialog

from tests.browser.chromium import launched, serving
from tests.browser.fake_edge import FakeEdge
from tests.browser.test_phone_screens import ALICE, ALICE_TONE, BOB, Scene
from tests.browser.web_phone import WebPhone

pytestmark = pytest.mark.browser


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    edge = FakeEdge()
    async with serving(edge.app) as base, launched() as browser:
        context = await browser.new_context(permissions=["microphone"], viewport={"width": 360, "height": 740})
        yield Scene(edge, base, context)


async def second_tab(scene: Scene) -> WebPhone:
    return await WebPhone.open(scene.context, scene.base, "alice", ALICE, tone=ALICE_TONE)


async def in_a_call(scene: Scene) -> tuple[WebPhone, WebPhone]:
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await bob.until("state", "incoming")
    await bob.press("Answer")
    for phone in (alice, bob):
        await phone.until("state", "connected")
    return alice, bob


async def test_second_tab__of_an_idle_phone__waits_until_it_takes_over(scene: Scene) -> None:
    first = await scene.phone("alice", ALICE, ALICE_TONE)

    second = await second_tab(scene)

    assert await second.knows("state") == "elsewhere"
    assert "This phone is open in another tab" in await second.words()
    assert await first.knows("connection") == "online"
    await second.press("Use it here")
    await second.until("connection", "online")
    await first.until("state", "elsewhere")
    assert len(scene.edge.refreshes) <= 1
    await first.press("Use it here")  # and back again
    await first.until("connection", "online")
    await second.until("state", "elsewhere")
    assert first.errors == second.errors == []


async def test_second_tab__during_a_call__leaves_it_alone_until_the_person_wants_it_here(scene: Scene) -> None:
    first, bob = await in_a_call(scene)

    second = await second_tab(scene)

    await second.page.get_by_text("It is in a call there").wait_for()
    assert await first.knows("state") == await bob.knows("state") == "connected"
    await second.press("Use it here")
    began = time.monotonic()
    assert (await bob.until("ended", lambda ended: ended is not None))["reason"] == "hangup"
    assert time.monotonic() - began < 2
    await second.until("connection", "online")
    assert "Outgoing" in await second.words()  # the call stands in the list


async def test_second_tab__whose_first_is_closed__becomes_the_phone_by_itself(scene: Scene) -> None:
    first = await scene.phone("alice", ALICE, ALICE_TONE)
    second = await second_tab(scene)

    await first.page.close()

    await second.until("connection", "online")
    assert await second.knows("number") == ALICE


async def test_reload__during_a_call__asks_first_and_then_ends_it_for_both(scene: Scene) -> None:
    alice, bob = await in_a_call(scene)
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    async def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.accept()

    alice.page.once("dialog", stay)
    await alice.page.evaluate("() => { setTimeout(() => location.reload(), 0); }")
    await wait_until(lambda: asked == ["beforeunload"])
    assert await bob.knows("state") == await alice.knows("state") == "connected"

    alice.page.once("dialog", leave)
    began = time.monotonic()
    await alice.page.evaluate("() => { setTimeout(() => location.reload(), 0); }")
    assert (await bob.until("ended", lambda ended: ended is not None))["reason"] == "hangup"
    assert time.monotonic() - began < 3
    await alice.until("connection", "online")
    assert asked == ["beforeunload"] * 2
    assert "Outgoing" in await alice.words()


async def test_reload__without_a_call__asks_nothing(scene: Scene) -> None:
    alice = await scene.phone("alice", ALICE, ALICE_TONE)
    asked: list[Dialog] = []
    alice.page.on("dialog", lambda dialog: asked.append(dialog))

    await alice.page.reload()

    await alice.until("connection", "online")
    assert asked == []


async def test_page__that_crashed_in_a_call__has_the_call_in_its_list(scene: Scene) -> None:
    alice, _ = await in_a_call(scene)
    session = await scene.context.new_cdp_session(alice.page)
    async with alice.page.expect_event("crash"):
        crashing = asyncio.create_task(session.send("Page.crash"))
    crashing.cancel()

    again = await second_tab(scene)

    await again.until("connection", "online")
    assert "this page was closed" in await again.words()


async def wait_until(holds: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
