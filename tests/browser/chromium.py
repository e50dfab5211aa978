"""A real Chromium for tests, with a microphone that beeps, and the web phone's files as the edge serves them."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright

from calls.edge.pages import content_policy

PHONE_FILES = Path(__file__).resolve().parents[2] / "calls" / "webphone"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
)


def executable() -> str:
    """Where Chromium is; a test that needs it is skipped, and says so, where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("No Chromium on this machine: install Debian's package chromium, or set CHROMIUM.")
    return found


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A fresh Chromium with a profile of its own, closed at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=list(FLAGS), headless=True)
        try:
            yield browser
        finally:
            await browser.close()


def collect_errors(page: Page) -> list[str]:
    """Everything that the page complains about, from now on: script errors, refused content, failed loads."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


async def _phone_file(request: web.Request) -> web.StreamResponse:
    path = (PHONE_FILES / (request.match_info["name"] or "index.html")).resolve()
    if not path.is_file() or PHONE_FILES not in path.parents:
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Content-Security-Policy": content_policy(f"ws://{request.host}")})


def add_phone_files(app: web.Application) -> None:
    app.router.add_get("/phone/{name:.*}", _phone_file)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The base URL of an application on a free port of the loopback interface."""
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
