"""The server of `swap`, in a process of its own: it answers bulks of 100, and swaps rulesets as an edge does.

It prints its port. `POST /` answers 100 decisions; `POST /swap` loads and installs the next of its rulesets, and
answers how long that took.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from datetime import UTC, datetime

import orjson
import uvloop
from aiohttp import web
from nacl.signing import SigningKey

from benchmarks.decisions import feature
from benchmarks.workload import flags, people
from rollout.rules.decision.decision import Party, decide_all
from rollout.serving.evaluations import Evaluations
from rollout.serving.ruleset import Rulesets, Signed, canonical, sign
from rollout.serving.watch import swap_in_background

FEATURES = 1_000
RULES = 10
NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
KEY = SigningKey(b"a benchmark's key: 32 bytes long")


def signed(version: int) -> Signed:
    """A thousand features of ten rules, drawn anew for each version, so that hardly two are of one shape."""
    dice = random.Random(version)
    features = {}
    for flag in flags(FEATURES):
        features[flag.key] = feature(flag)
        features[flag.key]["rules"] = [dice.choice(features[flag.key]["rules"]) for _ in range(RULES)]
    body = canonical({"version": version, "published_at": 0, "features": features})
    return Signed(version, body, sign(body, KEY))


async def serve() -> None:
    rulesets = Rulesets(KEY.verify_key)
    evaluations = Evaluations()  # what OFREP does with each new ruleset on the event loop
    versions = itertools.count(1)
    rulesets.swap(signed(next(versions)))
    coming = [signed(next(versions)) for _ in range(12)]
    turns = itertools.cycle(Party(person.id, person.traits) for person in people())

    async def bulk(request: web.Request) -> web.Response:
        await request.read()
        some = list(itertools.islice(rulesets.current.features.values(), 100))
        decisions = decide_all(some, next(turns), NOW)
        flags = [{"key": d.feature, "value": d.value, "reason": str(d.reason), "variant": d.variant} for d in decisions]
        return web.Response(body=orjson.dumps({"flags": flags}), content_type="application/json")

    async def swap(request: web.Request) -> web.Response:
        new = coming.pop(0)
        start, worked = time.perf_counter(), time.process_time()
        installed = asyncio.Event()
        rulesets.listeners[:] = [lambda old, new: evaluations.begin(new), lambda old, new: installed.set()]
        swapping = asyncio.create_task(swap_in_background(rulesets, new))
        await installed.wait()
        took = {"swap_s": time.perf_counter() - start, "cpu_s": time.process_time() - worked, "bytes": len(new.body)}
        await swapping
        return web.json_response({**took, "version": rulesets.current.version})

    app = web.Application()
    app.add_routes([web.post("/", bulk), web.post("/swap", swap)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[attr-defined]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
