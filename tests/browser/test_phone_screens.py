"""The web phone's screens in a real Chromium with real media, beside a stand-in for the edge."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import BrowserContext

from tests.browser.chromium import launched, serving
from tests.browser.fake_edge import FakeEdge
from tests.browser.web_phone import WebPhone

pytestmark = pytest.mark.browser

ALICE, BOB = "+4915112345678", "+4915187654321"
ALICE_TONE, BOB_TONE = 440, 620


@dataclass
class Scene:
    edge: FakeEdge
    base: str
    context: BrowserContext

    async def phone(self, name: str, number: str, tone: int) -> WebPhone:
        phone = await WebPhone.open(self.context, self.base, name, number, tone=tone)
        await phone.sign_in()
        return phone

    async def alice_and_bob(self) -> tuple[WebPhone, WebPhone]:
        """alice has calling, bob doesn't."""
        alice, bob = await self.phone("alice", ALICE, ALICE_TONE), await self.phone("bob", BOB, BOB_TONE)
        self.edge.people[ALICE].enabled = True
        return alice, bob


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    edge = FakeEdge()
    async with serving(edge.app) as base, launched() as browser:
        context = await browser.new_context(permissions=["microphone"], viewport={"width": 360, "height": 740})
        yield Scene(edge, base, context)


async def test_call__alice_calls_bob_who_answers__each_hears_the_other_and_not_himself(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()

    await alice.call(BOB)
    await bob.until("state", "incoming")
    ringing = await bob.words()
    await alice.until("state", "ringing")
    await bob.press("Answer")
    for phone in (alice, bob):
        await phone.until("state", "connected")

    assert "Answering turns calling on for you" in ringing
    assert "+49 151 123 45678".replace(" ", "\u00a0") in ringing
    await alice.hears(BOB_TONE, not_this=ALICE_TONE)
    await bob.hears(ALICE_TONE, not_this=BOB_TONE)
    number = await alice.until("safetyNumber", lambda digits: digits is not None)
    assert number == await bob.until("safetyNumber", lambda digits: digits is not None)
    assert re.fullmatch(r"\d{60}", number)
    assert "You can now call, and invite others" in await bob.words()
    assert "You can now call" not in await alice.words()

    await alice.press("Hang up")
    assert await bob.until("ended", lambda ended: ended is not None) == {"reason": "hangup", "cause": None}
    await bob.press("Done")
    await bob.until("mayCall", True)
    assert "3 more people can join" in await bob.words()
    assert scene.edge.seen.count((ALICE, "connected")) == scene.edge.seen.count((BOB, "connected")) == 1
    assert alice.errors == bob.errors == []


async def test_mute__pressed_in_a_call__the_other_hears_silence_until_pressed_again(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await bob.until("state", "incoming")
    await bob.press("Answer")
    await bob.until("frequency", lambda heard: heard is not None)

    await alice.press("Mute")
    await bob.until("frequency", None)

    await alice.press("Mute")
    await bob.hears(ALICE_TONE, not_this=BOB_TONE)


async def test_not_now__on_a_call_that_activates__declines_and_grants_nothing(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await bob.until("state", "incoming")

    await bob.press("Not now")

    assert (await alice.until("ended", lambda ended: ended is not None))["reason"] == "declined"
    assert "Nothing was turned on" in await bob.words()
    assert not scene.edge.people[BOB].enabled
    assert not await bob.knows("granted")
    assert (BOB, "accept") not in scene.edge.seen


async def test_ordinary_call__to_somebody_enabled__offers_answer_and_decline_only(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    scene.edge.people[BOB].enabled = True

    await alice.call(BOB)
    await bob.until("state", "incoming")

    words = await bob.words()
    assert "turns calling on" not in words
    assert "Not now" not in words
    await bob.press("Decline")
    assert "Declined" in await bob.words()
    await alice.until("state", "ended")


async def test_cancel__before_an_answer__ends_both_and_counts_as_missed(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await alice.until("state", "ringing")

    await alice.press("Hang up")

    assert (await bob.until("ended", lambda ended: ended is not None))["reason"] == "cancelled"
    assert "Missed call" in await bob.words()
    await bob.press("Done")
    assert "Missed" in await bob.words()


async def test_invite__that_the_server_took_without_saying_so__leaves_nobody_ringing(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    scene.edge.loses_invites = True

    await alice.call(BOB)

    await alice.until("state", "ended")
    assert (await bob.until("ended", lambda ended: ended is not None))["reason"] == "cancelled"


async def test_refusal__with_a_time__says_why_and_when_to_try_again(scene: Scene) -> None:
    alice = await scene.phone("alice", ALICE, ALICE_TONE)
    scene.edge.refusal = {
        "code": "cannot_be_called_now",
        "status": 409,
        "detail": "This person can't be called now. Try again later.",
        "window": {"state": "open"},
        "invite": "throttled",
        "retry_at": int(time.time() * 1000) + 60_000,
    }

    await alice.call(BOB)
    await alice.until("state", "ended")

    words = await alice.words()
    assert "Can't be called now" in words
    assert "The network is busy" in words
    assert re.search(r"try again\s+in \d+ seconds", words)
    assert await alice.knows("lastRefusal") == "cannot_be_called_now"


async def test_offer__while_calls_are_stopped__says_only_that(scene: Scene) -> None:
    scene.edge.killed = True

    alice = await scene.phone("alice", ALICE, ALICE_TONE)
    await alice.until("mayCall", False)

    words = await alice.words()
    assert "Calls are stopped" in words
    assert "This is stopped for everybody for now" in words
    assert "isn't on for you" not in words


@pytest.mark.parametrize("tampering", ["relay", "list"])
async def test_tampering__by_the_server__ends_the_call_before_anything_is_heard(scene: Scene, tampering: str) -> None:
    alice, bob = await scene.alice_and_bob()
    edge = scene.edge
    if tampering == "relay":
        edge.tamper_relays = True
    else:
        mallory = await scene.phone("mallory", "+4915100000666", 900)
        await mallory.until("connection", "online")
        edge.people[BOB].published = edge.people[mallory.number].published

    await alice.call(BOB)
    if tampering == "relay":
        await bob.until("state", "incoming")
        await bob.press("Answer")

    ended = await alice.until("ended", lambda ended: ended is not None)
    assert ended["reason"] == "security_error"
    assert "Ended for your safety" in await alice.words() or tampering == "relay"
    assert (ALICE, "connected") not in edge.seen
    if tampering == "list":
        assert (ALICE, "invite") not in edge.seen


async def test_connection__lost_while_somebody_calls__comes_back_and_rings_once(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    socket = scene.edge.people[BOB].socket
    assert socket is not None

    await socket.close()
    await alice.call(BOB)

    await bob.until("state", "incoming")
    await bob.until("connection", "online")
    assert scene.edge.seen.count((BOB, "ringing")) == 1


async def test_registration__wrong_code__says_what_to_do_and_lets_try_again(scene: Scene) -> None:
    phone = await WebPhone.open(scene.context, scene.base, "carol", "+4915133333333")
    await phone.press("Send me a code")
    await phone.until("state", "code")
    await phone.page.get_by_label("Code", exact=True).fill("000000")
    await phone.press("Sign in")
    await asyncio.sleep(0.5)

    assert "The code is wrong. Type it again, or ask for a new one." in await phone.words()

    await phone.page.get_by_label("Code", exact=True).fill("123456")
    await phone.press("Sign in")
    await phone.until("state", "idle")


async def test_number__typed_without_country_code__is_refused_in_words_before_anything_is_sent(scene: Scene) -> None:
    phone = await WebPhone.open(scene.context, scene.base, "carol", "0151 2345678")

    await phone.press("Send me a code")

    assert "with its country code" in await phone.words()
    assert scene.edge.people == {}


async def test_token__near_its_end__is_renewed_once_and_told_on_the_open_socket(scene: Scene) -> None:
    scene.edge.expires_in = 3
    alice = await scene.phone("alice", ALICE, ALICE_TONE)

    await asyncio.sleep(3)

    assert len(scene.edge.refreshes) in (1, 2)
    assert scene.edge.renewals == len(scene.edge.refreshes)
    assert await alice.knows("connection") == "online"


async def test_compared_contact__with_new_keys__is_called_only_after_the_person_agrees(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()
    await alice.call(BOB)
    await bob.until("state", "incoming")
    await bob.press("Answer")
    await alice.until("safetyNumber", lambda digits: digits is not None)
    await alice.press("Safety number")
    await alice.press("We compared it, it is the same")
    await alice.press("Hang up")
    await bob.until("state", "ended")
    await alice.press("Done")
    new_bob = await scene.phone("bob with a new phone", BOB, BOB_TONE)

    await alice.call(BOB)
    await alice.until("ended", {"reason": "keys_changed", "cause": None})
    assert "has changed" in await alice.words()
    assert scene.edge.seen.count((ALICE, "invite")) == 1

    await alice.press("I know, call anyway")
    await new_bob.until("state", "incoming")


async def test_keys__in_the_browser_s_memory__can_not_be_exported(scene: Scene) -> None:
    alice = await scene.phone("alice", ALICE, ALICE_TONE)

    exportable = await alice.page.evaluate(
        """async () => {
          const {Store} = await import("/phone/store.js");
          const keys = await (await Store.open("alice")).get("kept", "keys");
          const halves = [keys.account, keys.signing, keys.exchange].map((pair) => pair.privateKey);
          return halves.map((key) => [key.type, key.extractable]);
        }"""
    )

    assert exportable == [["private", False]] * 3


UNNAMED = """() => [...document.querySelectorAll("input, button")]
  .filter((e) => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute("aria-label"))
  .map((e) => e.outerHTML)"""
WIDER = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
FOCUSED = "() => document.activeElement && document.activeElement.textContent.trim()"


async def test_screens__at_360_pixels__are_named_focused_and_never_wider_than_the_screen(scene: Scene) -> None:
    alice, bob = await scene.alice_and_bob()

    async def check(phone: WebPhone, focused: str) -> None:
        assert await phone.page.evaluate(UNNAMED) == []
        assert not await phone.page.evaluate(WIDER)
        assert await phone.page.evaluate(FOCUSED) == focused

    await check(alice, "Call somebody")
    await alice.page.get_by_label("Whom do you want to call?").fill(BOB)
    await alice.page.keyboard.press("Enter")
    await bob.until("state", "incoming")
    await check(bob, "Answer")
    await bob.page.keyboard.press("Enter")
    await bob.until("safetyNumber", lambda digits: digits is not None)
    await check(bob, "Hang up")
    await bob.press("Safety number")
    await check(bob, "Safety number")
    await bob.press("Hang up")
    await alice.until("state", "ended")
    await check(alice, "Done")
    await alice.page.keyboard.press("Enter")
    await alice.until("state", "idle")


async def test_devices__of_the_person__are_listed_renamed_and_signed_out(scene: Scene) -> None:
    alice, _ = await scene.alice_and_bob()
    lost = {"id": "d-lost", "label": "Old phone", "seen_at": "2026-03-14T12:00:00Z", "this": False, "listed": False}
    scene.edge.people[ALICE].others.append(lost)

    await alice.press("Your devices")
    await alice.page.get_by_text("Old phone").wait_for()
    assert "This browser" in await alice.words()
    alice.page.once("dialog", lambda dialog: dialog.accept("Left on the train"))
    await alice.press("Rename Old phone")
    await alice.page.get_by_text("Left on the train").wait_for()
    assert lost["label"] == "Left on the train"

    alice.page.once("dialog", lambda dialog: dialog.accept())
    await alice.press("Sign Left on the train out")
    await alice.page.get_by_text("Left on the train").wait_for(state="detached")
    assert scene.edge.people[ALICE].others == []
    await alice.press("Back")
    await alice.page.get_by_label("Whom do you want to call?").wait_for()
    assert alice.errors == []
