"""Web phones on an edge that lies about who answers under a number, or about who calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.browser.chromium import launched, serving
from tests.browser.fake_edge import FakeEdge
from tests.browser.test_phone_screens import ALICE, BOB, Scene
from tests.browser.web_phone import WebPhone

pytestmark = pytest.mark.browser

MALLORY = "+4915100000666"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    edge = FakeEdge()
    async with serving(edge.app) as base, launched() as browser:
        context = await browser.new_context(permissions=["microphone"], viewport={"width": 360, "height": 740})
        yield Scene(edge, base, context)


async def alice_knows_bob(scene: Scene, *, compared: bool) -> WebPhone:
    """alice has talked with bob, and is at her dial screen again."""
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await alice.until("state", "ringing")
    assert "nobody has compared the safety number yet" in await alice.words()
    assert "nobody has compared the safety number yet" in await bob.words()
    await bob.press("Answer")
    await alice.until("safetyNumber", lambda digits: digits is not None)
    assert "not compared yet" in await alice.words()
    if compared:
        await alice.press("Safety number")
        await alice.press("We compared it, it is the same")
        await alice.page.get_by_text("End-to-end encrypted, compared").wait_for()
    await alice.press("Hang up")
    await alice.press("Done")
    return alice


async def accomplice(scene: Scene) -> WebPhone:
    """A phone that swears to be bob's number, as the edge told it."""
    scene.edge.reads[MALLORY] = BOB
    mallory = await scene.phone("mallory", MALLORY, 900)
    scene.edge.people[MALLORY].enabled = True
    return mallory


@pytest.mark.parametrize("compared", [True, False])
async def test_dialled_number__answered_by_an_accomplice__is_a_changed_key(scene: Scene, compared: bool) -> None:
    alice = await alice_knows_bob(scene, compared=compared)
    mallory = await accomplice(scene)
    scene.edge.answers_for[BOB] = MALLORY

    await alice.call(BOB)

    if compared:
        await alice.until("ended", {"reason": "keys_changed", "cause": None})
        assert scene.edge.seen.count((ALICE, "invite")) == 1
        assert "answers with another account than before" in await alice.words()
        await alice.press("Done")
    else:
        await alice.until("state", "ringing")
        assert "answers with another account than before" in await alice.words()
        await alice.press("Hang up")
        await mallory.until("state", "ended")
        await alice.press("Done")

    scene.edge.answers_for.clear()
    await alice.call(BOB)
    await alice.until("state", "ringing")
    assert "another account" not in await alice.words()  # the lie left nothing behind


@pytest.mark.parametrize("compared", [True, False])
async def test_ring__of_an_accomplice_under_a_known_number__says_what_changed(scene: Scene, compared: bool) -> None:
    alice = await alice_knows_bob(scene, compared=compared)
    mallory = await accomplice(scene)
    scene.edge.rings_as[MALLORY] = BOB

    await mallory.call(ALICE)
    await alice.until("state", "incoming")

    words = await alice.words()
    assert "answers with another account than before" in words
    assert ("Answer anyway" in words) is compared
    assert ("You had compared with them before" in words) is compared
    await alice.press("Decline")
    assert (await mallory.until("ended", lambda ended: ended is not None))["reason"] == "declined"


async def test_ring__under_a_number_that_isnt_the_callers__never_rings(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    scene.edge.rings_as[ALICE] = MALLORY

    await alice.call(BOB)

    await alice.until("ended", {"reason": "declined", "cause": None})
    assert await bob.knows("state") == "idle"
    assert (BOB, "ringing") not in scene.edge.seen


async def test_dialled_number__led_to_somebody_elses_phone__never_rings_there(scene: Scene) -> None:
    alice, _ = await scene.alice_and_bob()
    mallory = await scene.phone("mallory", MALLORY, 900)
    scene.edge.answers_for[BOB] = MALLORY

    await alice.call(BOB)

    await alice.until("ended", {"reason": "declined", "cause": None})
    assert await mallory.knows("state") == "idle"


@pytest.mark.parametrize("later", [75_000, 25 * 3_600_000])
async def test_ring__held_back_or_sent_again__is_a_missed_call_and_never_rings(scene: Scene, later: int) -> None:
    alice, bob = await scene.alice_and_bob()
    scene.edge.holds_rings = []
    await alice.call(BOB)
    await alice.until("state", "reaching")
    [(person, ring)], scene.edge.holds_rings = scene.edge.holds_rings, None
    await bob.page.evaluate("later => { const now = Date.now; Date.now = () => now() + later; }", later)

    await scene.edge.tell(person, "ring", **ring)

    await bob.page.get_by_text("Missed").wait_for()
    assert await bob.knows("state") == "idle"
    assert (BOB, "ringing") not in scene.edge.seen


async def test_clock__far_from_the_servers__is_told_before_calls_are_missed(scene: Scene) -> None:
    scene.edge.clock_ahead_ms = 90_000

    alice = await scene.phone("alice", ALICE, 440)

    assert "clock is" in await alice.words()
    assert "seconds slow: set it" in await alice.words()


async def test_dialled_number__that_the_edge_reads_otherwise__is_for_the_person_to_decide(scene: Scene) -> None:
    alice, _ = await scene.alice_and_bob()
    scene.edge.reads[BOB] = MALLORY

    await alice.call(BOB)

    await alice.until("lastRefusal", "read_otherwise")
    assert f"reads {BOB} as {MALLORY}" in await alice.words()
    assert (ALICE, "invite") not in scene.edge.seen
