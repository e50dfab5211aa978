"""From the commit of a change until every process decides anew and listeners were told: two edges and the web.

A change is a feature switched on or off through its action, in a process of its own right (this one). For each edge the
time is the later of: a phone's single evaluation gives the new value, and the event stream's event has arrived. The web
decides by the newest ruleset at each request. A round's figure is that of the slowest process. `redis_…` with the
doorbell, `no_redis_…` with a Redis that is away, so that only the one-second poll finds the change.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvloop
from aiohttp import ClientSession, ClientTimeout

from benchmarks.harness import Goal, Measured, main, percentile
from benchmarks.ofrep import BULK, fill
from benchmarks.stand import Stand
from benchmarks.workload import flags

GOALS = {"redis_p99_ms": Goal(most=250), "no_redis_p99_ms": Goal(most=1_500)}
ROUNDS = {"redis": 60, "no_redis": 40}
LATEST = 10.0  # seconds
PAUSE = 0.01  # seconds between two questions
NOWHERE = "redis://127.0.0.1:1/0"
KEY = "feature-000"


@dataclass
class Edge:
    """One edge with a backend that asks and a phone that listens. `told_at` is when the last event came."""

    url: str
    http: ClientSession
    backend: dict[str, str]
    phone: dict[str, str]
    told: asyncio.Event
    told_at: float = 0.0

    async def decides(self, off: bool) -> float:
        """When it first decided so."""
        while True:
            async with self.http.post(f"{self.url}{BULK}/{KEY}", headers=self.backend, json={}) as response:
                reason = (await response.json())["reason"]
            if (reason == "DISABLED") is off:
                return time.perf_counter()
            await asyncio.sleep(PAUSE)

    async def listen(self, ready: asyncio.Event) -> None:
        async with self.http.post(f"{self.url}{BULK}", headers=self.phone, json={}) as response:
            address = (await response.json())["eventStreams"][0]["url"]
        async with self.http.get(address, timeout=ClientTimeout(total=None)) as stream:
            async for line in stream.content:
                ready.set()
                if line.startswith(b"data:"):
                    self.told_at = time.perf_counter()
                    self.told.set()


def switch(on: bool) -> float:
    """The change; when it was committed."""
    from django.db import transaction
    from django.utils import timezone

    from controlplane.audit.record import Actor
    from controlplane.audit.rules.verbs import Right
    from rollout.actions import features

    verb = features.switch_on if on else features.switch_off
    at: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: at.append(time.perf_counter()))  # before the doorbell is rung
        verb(KEY, actor=Actor.operator("benchmark", Right), now=timezone.now())
    return at[0]


@asynccontextmanager
async def _edges(urls: list[str], tokens: list[str], key: str) -> AsyncIterator[list[Edge]]:
    async with ClientSession() as http:
        edges, listening = [], []
        for url, token in zip(urls, tokens, strict=False):
            edge = Edge(url, http, {"X-API-Key": key}, {"Authorization": f"Bearer {token}"}, asyncio.Event())
            ready = asyncio.Event()
            listening.append(asyncio.create_task(edge.listen(ready)))
            await asyncio.wait_for(ready.wait(), LATEST)
            edges.append(edge)
        await asyncio.sleep(1)
        try:
            yield edges
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)


async def _web_decides(http: ClientSession, url: str, key: str, subscriber: str, off: bool) -> float:
    while True:
        query = {"subscriber": subscriber, "feature": KEY}
        async with http.get(f"{url}/api/explain", params=query, headers={"X-API-Key": key}) as response:
            told = await response.json()
        if response.status != 200:
            raise RuntimeError(f"explain answered {response.status}: {told}")
        if (told["cause"] == "switched_off") is off:
            return time.perf_counter()
        await asyncio.sleep(PAUSE)


async def _rounds(count: int, edges: list[Edge], web: tuple[str, str, str]) -> dict[str, list[float]]:
    """Seconds of each round, until all three parts were there, and of each part."""
    spans: dict[str, list[float]] = {"all": [], "decided": [], "told": [], "web": []}
    for number in range(count):
        off = number % 2 == 0
        for edge in edges:
            edge.told.clear()
        committed = await asyncio.to_thread(switch, not off)
        waiting = [edge.decides(off) for edge in edges]
        async with asyncio.timeout(LATEST):
            *decided, on_web = await asyncio.gather(*waiting, _web_decides(edges[0].http, *web, off))
            await asyncio.gather(*(edge.told.wait() for edge in edges))
        told = [edge.told_at for edge in edges]
        for name, times in (("decided", decided), ("told", told), ("web", [on_web])):
            spans[name].append(max(0.0, max(times) - committed))
        spans["all"].append(max(each[-1] for name, each in spans.items() if name != "all"))
        await asyncio.sleep(0.05 + (number % 10) * 0.11)  # so that changes fall anywhere between two polls
    return spans


def _figures(name: str, spans: dict[str, list[float]]) -> dict[str, Any]:
    figures = {f"{name}_p{share}_ms": percentile(spans["all"], share / 100) for share in (50, 99)}
    figures |= {f"{name}_{part}_p99_ms": percentile(spans[part], 0.99) for part in ("decided", "told", "web")}
    worst = sorted(spans["all"])[-5:]
    return {key: round(seconds * 1000, 1) for key, seconds in figures.items()} | {
        f"{name}_worst_ms": [round(seconds * 1000) for seconds in worst]
    }


def measure() -> Measured:
    figures: dict[str, Any] = {}
    with Stand() as stand:
        tokens, backend = fill()
        reader, subscriber = _reader()
        redis = {"redis": os.environ["REDIS_URL"], "no_redis": NOWHERE}
        for name, url in redis.items():
            urls = [stand.edge(REDIS_URL=url), stand.edge(REDIS_URL=url)]
            web = (stand.web(REDIS_URL=url), reader, subscriber)
            figures |= _figures(name, uvloop.run(_measure(ROUNDS[name], urls, tokens, backend, web)))
            stand.end_processes()
    return Measured(
        figures,
        notes=[
            f"Two edges and the web, {len(flags())} features; {ROUNDS['redis']} and {ROUNDS['no_redis']} changes.",
            f"From the commit to the slowest process; each is asked every {PAUSE * 1000:.0f} ms.",
        ],
    )


async def _measure(
    count: int, urls: list[str], tokens: list[str], backend: str, web: tuple[str, str, str]
) -> dict[str, list[float]]:
    async with _edges(urls, tokens, backend) as edges:
        await _rounds(4, edges, web)  # warm
        return await _rounds(count, edges, web)


def _reader() -> tuple[str, str]:
    """An API key that may read, and a subscriber to explain."""
    from django.utils import timezone

    from controlplane.accounts.actions.keys import create_key
    from controlplane.accounts.actions.subscribers import NewPerson, import_people
    from controlplane.audit.record import Actor
    from controlplane.audit.rules.verbs import Right

    actor, now = Actor.operator("benchmark", Right), timezone.now()
    key, _ = create_key("reader", scopes=["read"], actor=actor, now=now)
    made = import_people([NewPerson(phone="+4915112345678")], actor=actor, now=now)
    return key, str(next(iter(made.values())))


if __name__ == "__main__":
    main("propagation", measure, GOALS)
