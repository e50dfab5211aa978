"""The web phone and the Python phone call each other, with real media both ways."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext

from controlplane.env import ROOT
from story.tones import seconds_of_tone
from tests.browser.chromium import launched, serving
from tests.browser.fake_edge import FakeEdge
from tests.browser.web_phone import WebPhone

pytestmark = pytest.mark.browser

WEB, PYTHON = "+4915112345678", "+4915187654321"
WEB_TONE, PYTHON_TONE = 500, 1100


@dataclass
class PythonPhone:
    """`manage.py phone run` as a process of its own, obeying on its standard input."""

    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(json.loads(line))

    def do(self, what: str, **more: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")

    async def until(self, event: str, *, seconds: float = 20) -> dict[str, Any]:
        for _ in range(int(seconds * 20)):
            for seen in self.events:
                if seen["event"] == event:
                    return seen
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {event!r} came; {self.events}")


@asynccontextmanager
async def python_phone(base: str, folder: Path) -> AsyncIterator[PythonPhone]:
    arguments = ["phone", "--url", base, "--folder", str(folder), "--json", "run", "--phone", PYTHON]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "manage.py"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    phone = PythonPhone(process)
    reading = asyncio.create_task(phone.read())
    try:
        await phone.until("ready")
        yield phone
        phone.do("quit")
        await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()


@pytest.fixture
async def base() -> AsyncIterator[str]:
    edge = FakeEdge()
    async with serving(edge.app) as url:
        yield url


@pytest.fixture
async def context() -> AsyncIterator[BrowserContext]:
    async with launched() as browser:
        yield await browser.new_context(permissions=["microphone"])


def holds(recording: Path) -> tuple[float, float]:
    """Seconds of the browser's tone and of the Python phone's own."""
    return seconds_of_tone(recording, WEB_TONE), seconds_of_tone(recording, PYTHON_TONE)


async def test_web_phone__calls_the_python_phone__each_hears_the_other(
    base: str, context: BrowserContext, tmp_path: Path
) -> None:
    recording = tmp_path / "heard.wav"
    async with python_phone(base, tmp_path / "phone") as python:
        python.do("set", answer="auto", tone=PYTHON_TONE, record=str(recording))
        web = await WebPhone.open(context, base, "web", WEB, tone=WEB_TONE)
        await web.sign_in()

        await web.call(PYTHON)
        await web.until("state", "connected", seconds=30)
        await web.hears(PYTHON_TONE, not_this=WEB_TONE)
        await asyncio.sleep(2)
        python.do("safety", who=WEB)
        safety = (await python.until("safety"))["number"]
        assert await web.until("safetyNumber", lambda digits: digits is not None) == safety
        await web.press("Hang up")

        assert (await python.until("ended"))["reason"] == "hangup"
        assert web.errors == []
    heard, own = holds(recording)
    assert heard >= 1.5
    assert own == 0


async def test_python_phone__calls_the_web_phone__each_hears_the_other(
    base: str, context: BrowserContext, tmp_path: Path
) -> None:
    recording = tmp_path / "heard.wav"
    async with python_phone(base, tmp_path / "phone") as python:
        web = await WebPhone.open(context, base, "web", WEB, tone=WEB_TONE)
        await web.sign_in()

        python.do("call", to=WEB, tone=PYTHON_TONE, record=str(recording))
        await web.until("state", "incoming")
        await web.press("Answer")
        await web.until("state", "connected", seconds=30)
        await web.hears(PYTHON_TONE, not_this=WEB_TONE)
        await asyncio.sleep(2)
        python.do("hangup")

        assert (await web.until("ended", lambda ended: ended is not None))["reason"] == "hangup"
        assert web.errors == []
    heard, own = holds(recording)
    assert heard >= 1.5
    assert own == 0
