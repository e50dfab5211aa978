"""The console in a real Chromium: an operator signs in, acts, and sees what happened. In every look and width.

A script error, a refused resource or a page wider than its window fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect, sync_playwright

from controlplane.accounts.actions.operators import create_operator, ensure_roles
from rollout.actions import waves
from rollout.models import Allowance, Area, CapacityDecision, Feature, Grant, Measurement, Wave, Window
from tests import builders, operators
from tests.browser.chromium import executable
from tests.operators import TESTS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PASSWORD = "a long enough password 42"
# Cells and figures that hide a part of what stands in them.
CLIPPED = """() => [...document.querySelectorAll("#result_list td, .rc-figures > div")]
  .filter((box) => box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.textContent.trim())"""
LOOKS = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]


@dataclass
class Console:
    """A signed-in operator's browser; `faults` is what the pages complained about."""

    page: Page
    base: str
    faults: list[str]

    def open(self, path: str = "") -> None:
        self.page.goto(f"{self.base}/console/{path}")

    def confirm(self, button: str, reason: str = "", **choices: str) -> None:
        """Press a verb's button, answer its dialog, and wait until the page says that it is done."""
        self.press(
            self.page.locator("#content").get_by_role("button", name=button, exact=True).first, reason, **choices
        )

    def press(self, control: Locator, reason: str = "", **choices: str) -> None:
        control.click()
        dialog = self.page.locator("dialog[open]")
        expect(dialog).to_be_visible()
        for choice in choices.values():
            dialog.get_by_label(choice).check()
        if reason:
            dialog.get_by_label("Why").fill(reason)
        dialog.locator("button[type=submit]").click()
        expect(dialog).to_have_count(0)

    def says(self, words: str) -> None:
        expect(self.page.locator("#content, #main").get_by_text(words).first).to_be_visible()


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Feature:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright's own loop runs in this thread
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)  # none outlives the live server
    ensure_roles()
    create_operator("ann", password=PASSWORD, roles=["admin"], actor=TESTS, now=timezone.now())
    feature, area, now = operators.feature(), operators.area(), timezone.now()
    Area.objects.filter(pk=area.pk).update(state="ramp", reason="DE takes people in: 4 of 20 calls, 20 %.")
    Allowance.objects.filter(area=area).update(remaining=100, valid_until=now + timedelta(hours=1))
    Measurement.objects.create(area=area, sampled_at=now, concurrent_calls=4, attempts=1)
    CapacityDecision.objects.create(
        area=area,
        at=now,
        state="ramp",
        previous_state="unknown",
        minted=100,
        reason="20 %.",
        would_change="Above 80 %.",
    )
    alice = builders.subscriber(name="alice")
    builders.device(alice)
    Grant.objects.create(feature=feature, subscriber=alice, source="operator")
    return feature


@pytest.fixture
def console(deployment: Feature, live_server: Any, request: pytest.FixtureRequest) -> Iterator[Console]:
    theme, width = getattr(request, "param", LOOKS[0])
    program = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--headless=new"])
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        page = context.new_page()
        page.set_default_timeout(15_000)
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda sent: None if live_server.url in sent.url else faults.append(f"asked {sent.url}"))
        page.goto(f"{live_server.url}/console/")
        page.fill("input[name=username]", "ann")
        page.fill("input[name=password]", PASSWORD)
        page.click("#login-form button[type=submit]")
        page.wait_for_url("**/console/")
        yield Console(page, live_server.url, faults)
        browser.close()
    assert faults == []


def test_feature__switched_off_and_on_again__shows_it_in_place(console: Console) -> None:
    toggle = console.page.get_by_role("switch", name="Voice calls")
    expect(toggle).to_be_checked()
    console.press(toggle)
    console.says("Voice calls is off")
    assert Feature.objects.get().switch == "off"
    expect(toggle).not_to_be_checked()

    console.press(toggle, "The line is quiet again.")

    console.says("Voice calls is on.")
    assert Feature.objects.get().switch == "on"


def test_feature__killed_with_its_calls__is_taken_back_by_the_link_beside_the_words(console: Console) -> None:
    console.confirm("Kill", "Something burns.", calls="End them too")
    console.says("Voice calls is killed")
    console.says("1 thing needs a person")
    assert Feature.objects.get().stop_calls_before is not None

    console.page.locator(".rc-undo").click()
    console.page.locator("dialog[open]").get_by_label("Why").fill("It is out.")
    console.page.locator("dialog[open] button[type=submit]").click()

    console.says("no longer killed")
    assert Feature.objects.get().switch == "on"


def test_dialog__by_keyboard_alone__opens_closes_and_changes_nothing(console: Console) -> None:
    button = console.page.locator("#content").get_by_role("button", name="Kill", exact=True)
    button.focus()
    console.page.keyboard.press("Space")
    expect(console.page.locator("dialog[open]")).to_be_visible()

    console.page.keyboard.press("Escape")

    expect(console.page.locator("dialog[open]")).to_have_count(0)
    assert Feature.objects.get().switch == "on"


def test_window__opened_filled_and_closed__keeps_its_counters_live(console: Console) -> None:
    console.open(f"rollout/window/add/?feature={Feature.objects.get().pk}")
    console.page.fill("input[name=name]", "Saturday test")
    console.page.click("button[name=_save]")
    console.says("Nobody can invite before you open it")
    console.confirm("Open window", "The test begins.")
    console.says("is open")
    window = Window.objects.get()

    Window.objects.filter(pk=window.pk).update(used=7)  # as if seven people had come in

    expect(console.page.locator(".rc-figures").get_by_text("7", exact=True)).to_be_visible()
    console.confirm("Close window")
    console.says("Those who came in keep the feature")
    assert Window.objects.get().state == "closed"


def test_wave__opened_held_and_run_to_its_end__says_how_far_it_is(console: Console) -> None:
    for _ in range(3):
        builders.device(builders.subscriber())
    console.open(f"rollout/wave/add/?feature={Feature.objects.get().pk}")
    console.page.fill("input[name=name]", "Android")
    console.page.click("button[name=_save]")
    console.confirm("Open wave", "The plan says so.")
    console.confirm("Hold")
    console.says("Resume it when you are ready.")
    console.confirm("Resume", "All is well.")

    waves.admit(Wave.objects.get().pk, now=timezone.now())  # what the worker does

    console.says("everybody in it was given the feature")
    assert Grant.objects.filter(source="wave").count() == 3


def test_overview__while_somebody_reads_it__follows_the_deployment(console: Console) -> None:
    console.says("On for 1 person")

    Feature.objects.update(switch="off")

    console.says("Off: nobody can call.")


PAGES = ["", "explain/", "tree/", "grant/", "keys/new/", "rollout/feature/", "rollout/window/", "rollout/wave/",
         "rollout/area/", "rollout/grant/", "accounts/subscriber/", "accounts/apikey/", "calls/callrecord/",
         "audit/auditentry/", "outbox/outbox/", "auth/user/", "rollout/window/add/", "rollout/wave/add/",
         "rollout/feature/add/", "rollout/audience/", "rollout/audience/add/", "rollout/ruleset/",
         "rollout/ruleset/1/change/"]  # fmt: skip


@pytest.mark.parametrize("console", LOOKS, indirect=True, ids=[f"{theme}-{width}" for theme, width in LOOKS])
def test_each_page__in_each_look__fits_and_complains_about_nothing(console: Console) -> None:
    feature, area = Feature.objects.get(), Area.objects.get()
    details = [f"rollout/feature/{feature.pk}/change/", f"rollout/area/{area.pk}/change/",
               f"do/feature/{feature.pk}/kill/"]  # fmt: skip
    too_wide, clipped = [], []
    for path in [*PAGES, *details]:
        console.open(path)
        if console.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path)
        clipped += [f"{path}: {words}" for words in console.page.evaluate(CLIPPED)]
        for image in console.page.locator("#content svg").all():
            assert image.get_attribute("aria-label") or image.get_attribute("aria-labelledby"), path

    assert too_wide == []
    assert clipped == []


@pytest.mark.parametrize("console", LOOKS, indirect=True, ids=[f"{theme}-{width}" for theme, width in LOOKS])
def test_list__in_each_look__keeps_its_title(console: Console) -> None:
    console.open("rollout/feature/")

    expect(console.page.locator("#header-inner h1").get_by_text("Features", exact=True)).to_be_visible()


def test_documentation__under_the_policy__shows_the_operations(console: Console) -> None:
    console.page.goto(f"{console.base}/api/docs")

    expect(console.page.get_by_text("/api/features").first).to_be_visible()
