"""What is not signaling: the web phone's files, health, metrics, and the first page."""

from __future__ import annotations

import mimetypes
import time
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from controlplane.base.addresses import is_direct
from controlplane.base.env import ROOT
from controlplane.base.refusal import NotFound
from rollout.serving.clients import credential, key_of

from .arbiter import Arbiter
from .metrics import Metrics
from .placing import Placing
from .rest import as_json

PHONE = ROOT / "calls" / "webphone"
SERVED = frozenset({".html", ".js", ".css", ".svg", ".png", ".json", ".webmanifest", ".wav", ".mp3", ".ogg"})


def content_policy(websocket: str) -> str:
    """The web phone runs its own scripts only, and talks to this origin only."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
        f"connect-src 'self' {websocket}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


class Pages:
    def __init__(self, arbiter: Arbiter, metrics: Metrics, placing: Placing, public_url: str) -> None:
        self.arbiter = arbiter
        self.metrics = metrics
        self.placing = placing
        self.policy = content_policy("ws" + public_url.removeprefix("http"))

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.first),
            web.get("/phone", self.first),
            web.get("/phone/{path:.*}", self.phone),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.show_metrics),
        ]

    async def first(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/phone/"})

    async def phone(self, request: web.Request) -> web.StreamResponse:
        path = _inside(PHONE, request.match_info["path"] or "index.html")
        headers = {
            "Content-Security-Policy": self.policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cache-Control": "no-cache",
        }
        kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]
        headers["Content-Type"] = kind or "application/octet-stream"
        return web.FileResponse(path, headers=headers)

    async def healthz(self, request: web.Request) -> web.Response:
        return as_json({"ok": True})

    async def readyz(self, request: web.Request) -> web.Response:
        """Ready once a ruleset is there; what is away is named, and doesn't make a running edge unready."""
        version = self.placing.gate.rulesets.current.version
        state = {
            "ok": version > 0,
            "ruleset": version,
            "database": "there" if self.arbiter.database.available else "away",
            "store": "there" if self.arbiter.store.away_since is None else "away",
        }
        if version == 0:
            state["words"] = "No ruleset has been published or loaded yet: publish one, or check PostgreSQL."
        return as_json(state, 200 if version > 0 else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        """For this machine itself, or for a key with the scope read: they say how much is called, and where."""
        if not is_direct(request.remote or "", request.headers):
            key_of(self.placing.gate.rulesets.current, credential(request), time.time(), "read", "operate")
        counts: dict[str, int] = {}
        for stored in self.arbiter.known.values():
            if not stored.call.over:
                counts[stored.call.state] = counts.get(stored.call.state, 0) + 1
        self.metrics.calls.clear()
        for state, count in counts.items():
            self.metrics.calls.labels(state).set(count)
        self.metrics.rulesets_refused.set(self.placing.gate.rulesets.refused)
        self.metrics.breaker.set(0 if self.arbiter.database.available else 1)
        body = generate_latest(self.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder that may be served. Raises `NotFound`."""
    try:
        path = (folder / name).resolve()
        served = path.is_relative_to(folder.resolve()) and path.suffix in SERVED and path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        served = False
    if not served:
        raise NotFound("There is no such page.")
    return path
