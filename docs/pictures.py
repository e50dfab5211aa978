"""Take the pictures of docs/console.md from a running demonstration: `.venv/bin/python docs/pictures.py`.

Start `make run` first, and play `make story` meanwhile or before, so that there is something to see.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from controlplane.base import env  # noqa: E402 - the project's own folder is named above
from tests.browser.chromium import FLAGS, executable  # noqa: E402

PICTURES = Path(__file__).with_name("pictures")
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def ask(told: dict[str, Any], path: str) -> Any:
    """An operator's question over REST."""
    request = urllib.request.Request(f"{told['console_url']}/api/{path}", headers={"X-API-Key": told["api_key"]})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the demonstration's own address
        return json.load(answer)["results"]


def pages(told: dict[str, Any]) -> dict[str, str]:
    """The pages worth showing, by the name of their picture."""
    windows = ask(told, "windows")
    reported = next((window for window in windows if window["report"]), windows[0])
    invited = ask(told, "grants?source=invite&limit=100")
    deepest = max(invited, key=lambda grant: grant["depth"])
    first = next(grant for grant in ask(told, "grants?source=operator&limit=100") if grant["id"] == deepest["root"])
    return {
        "overview": "/console/",
        "window": f"/console/rollout/window/{reported['id']}/change/",
        "capacity": "/console/rollout/area/",
        "invite-tree": f"/console/tree/?feature=voice-calls&root={first['subscriber']}",
        "explain": f"/console/explain/?feature=voice-calls&subscriber={deepest['subscriber']}",
    }


def take(browser: Browser, told: dict[str, Any], scheme: Any, size: Any, names: set[str], suffix: str) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{told['console_url']}/console/")
    page.fill("input[name=username]", told["console"]["user"])
    page.fill("input[name=password]", told["console"]["password"])
    page.click("button[type=submit]")
    for name, path in pages(told).items():
        if name not in names:
            continue
        page.goto(told["console_url"] + path)
        page.wait_for_timeout(1500)
        page.screenshot(path=str(PICTURES / f"{name}{suffix}.png"))
    context.close()


def main() -> None:
    told = json.loads((env.load().state / "demonstration.json").read_text(encoding="utf-8"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        take(browser, told, "light", WIDE, {"overview", "window", "capacity", "invite-tree"}, "")
        take(browser, told, "dark", WIDE, {"explain"}, "-dark")
        take(browser, told, "light", NARROW, {"overview"}, "-phone")
        browser.close()


if __name__ == "__main__":
    main()
