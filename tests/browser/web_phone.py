"""Driving a web phone as a person does: by labels and buttons; what it knows is read from `window.rollcallPhone`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from playwright.async_api import BrowserContext, Page

from tests.browser.chromium import collect_errors

TONE_TOLERANCE = 12
"""Hertz: twice the width of one line of the phone's spectrum."""


@dataclass(slots=True)
class WebPhone:
    page: Page
    number: str
    errors: list[str]

    @classmethod
    async def open(cls, context: BrowserContext, base: str, name: str, number: str, **options: Any) -> WebPhone:
        """A window at the phone's page, with an identity of its own."""
        page = await context.new_page()
        phone = cls(page, number, collect_errors(page))
        await page.goto(f"{base}/phone/?{urlencode({'as': name, 'phone': number, **options})}")
        await phone.until("state", lambda state: state in ("number", "idle", "elsewhere"))
        return phone

    async def sign_in(self) -> None:
        """With the code that a demonstration fills in."""
        await self.press("Send me a code")
        await self.until("state", "code")
        await self.press("Sign in")
        await self.until("state", "idle")
        await self.until("connection", "online")

    async def knows(self, what: str) -> Any:
        return await self.page.evaluate("what => window.rollcallPhone && window.rollcallPhone[what]", what)

    async def subscriber(self) -> str:
        """The id under which the server knows this phone's person."""
        return str(await self.knows("subscriber"))

    async def until(self, what: str, expected: Any, *, seconds: float = 15) -> Any:
        """The value, as soon as it equals `expected` (or satisfies it)."""
        fits: Callable[[Any], bool] = expected if callable(expected) else lambda value: value == expected
        end = time.monotonic() + seconds
        while not fits(value := await self.knows(what)):
            if time.monotonic() > end:
                about = {key: await self.knows(key) for key in ("state", "ended", "lastRefusal", "connection")}
                raise AssertionError(f"{self.number}: {what} stayed {value!r}; {about}; complaints: {self.errors}")
            await asyncio.sleep(0.1)
        return value

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def call(self, number: str) -> None:
        await self.page.get_by_label("Whom do you want to call?").fill(number)
        await self.press("Call")

    async def words(self) -> str:
        """What a person reads on the screen."""
        return await self.page.locator("main").inner_text()

    async def hears(self, tone: int, *, not_this: int) -> None:
        """The other phone's tone arrives, and our own doesn't come back."""
        await self.until("frequency", lambda heard: heard is not None and abs(heard - tone) <= TONE_TOLERANCE)
        for _ in range(5):
            heard = await self.knows("frequency")
            assert abs(heard - tone) <= TONE_TOLERANCE
            assert abs(heard - not_this) > TONE_TOLERANCE
            await asyncio.sleep(0.1)
