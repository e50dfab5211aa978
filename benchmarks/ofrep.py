"""OFREP's bulk over HTTP with authentication: an edge on one core, the load on the other, 100 features of five rules.

Each request of `rps` and `c1_p99_ms` has a context that was never sent before, so all 100 decisions are made and
written anew; phones send their own access tokens, each verified once. `rps_repeated` are requests that were answered
before, `rps_304` those with the ETag of an unchanged answer. `rps_of_cpu` are requests per second of the edge's
processor time, which a busy machine distorts less. The peer is aiohttp that answers as many bytes and decides nothing.
Medians of rounds, in which all take turns.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import uvloop

from benchmarks.decisions import feature
from benchmarks.harness import ROOT, Goal, Measured, main, percentile
from benchmarks.load import Load, post, run
from benchmarks.stand import Stand, pin
from benchmarks.workload import flags, people

GOALS = {"rps": Goal(least=2_500), "c1_p99_ms": Goal(most=2), "odd_answers": Goal(most=0)}
BULK = "/ofrep/v1/evaluate/flags"
PHONES = 1_000
CONNECTIONS = 16
SECONDS = 3.0
ALONE = 1_500  # requests of one client in a round
ROUNDS = 5
SAME_ANSWERS = 100  # phones whose answers are asked for again
SIZE = 11_500  # bytes of the peer's answers: about ours
SOUND = {200, 304}

Requests = Callable[[], Iterator[bytes]]


def fill() -> tuple[list[str], str]:
    """A hundred features, published; the tokens of a thousand phones, and an API key."""
    from django.utils import timezone

    from controlplane.accounts.actions.keys import create_key
    from controlplane.audit.record import Actor
    from controlplane.audit.rules.verbs import Right
    from rollout.actions import rulesets
    from rollout.models import Feature

    actor, now = Actor.operator("benchmark", Right), timezone.now()
    Feature.objects.bulk_create(_row(feature(flag)) for flag in flags())
    key, _ = create_key("benchmark", scopes=["evaluate"], actor=actor, now=now)
    rulesets.publish(actor, now)
    return [_token(person.id, dict(person.traits), int(now.timestamp())) for person in people(PHONES)], key


def _row(document: dict[str, Any]) -> Any:
    from rollout.models import Feature

    values = {name: value for name, value in document.items() if name != "kind"}
    variants = {"on": True, "off": False}
    return Feature(**values, name=document["key"], variants=variants, visible_to_phones=True)


def _token(subscriber: str, traits: dict[str, str], issued: int) -> str:
    """An access token as web mints it."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.conf import settings

    from controlplane.accounts.rules.access_token import AUDIENCE, ISSUER

    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": subscriber, "did": subscriber, "iat": issued, "exp": issued + 3600,
        "jti": "b", "tr": traits, "g": {}, "fr": [],
    }  # fmt: skip
    key = Ed25519PrivateKey.from_private_bytes(bytes(settings.KEYS.token))
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": settings.KEYS.token_key_id})


def new_contexts(credentials: list[dict[str, str]]) -> Requests:
    """Requests that nobody has sent before, by each credential in turn."""
    count = itertools.count()

    def requests() -> Iterator[bytes]:
        for headers in itertools.cycle(credentials):
            yield post(BULK, headers, b'{"context":{"targetingKey":"u%d","session":"s%d"}}' % ((next(count),) * 2))

    return requests


def measure() -> Measured:
    with Stand() as stand:
        tokens, key = fill()
        port = urlsplit(stand.edge()).port
        assert port is not None
        bare = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", str(SIZE)], stdout=subprocess.PIPE, cwd=ROOT)
        try:
            assert bare.stdout is not None
            bare_port = int(bare.stdout.readline())
            pinned = all([pin(stand.pid(0), -1), pin(bare.pid, -1), pin(0, 0)])
            measured: Measured = uvloop.run(_measure(port, bare_port, stand.pid(0), tokens, key, pinned))
            return measured
        finally:
            bare.terminate()
            bare.wait()


async def _measure(port: int, bare: int, edge: int, tokens: list[str], key: str, pinned: bool) -> Measured:
    phones = [{"Authorization": f"Bearer {token}"} for token in tokens]
    fresh = new_contexts(phones)
    backend = new_contexts([{"X-API-Key": key}])
    again = [post(BULK, headers, b'{"context":{}}') for headers in phones[:SAME_ANSWERS]]
    unchanged = [post(BULK, {**headers, "If-None-Match": "*"}, b'{"context":{}}') for headers in phones]
    for first in (fresh, lambda: iter(unchanged), lambda: iter(unchanged)):  # tokens are verified, answers kept
        await run(port, itertools.islice(first(), PHONES), connections=CONNECTIONS, seconds=60)
    alone = 60.0  # seconds at most
    kinds: dict[str, tuple[int, Requests, int, float]] = {
        "rps": (port, fresh, CONNECTIONS, SECONDS),
        "bare rps": (bare, fresh, CONNECTIONS, 1.0),
        "rps_api_key": (port, backend, CONNECTIONS, 1.0),
        "rps_repeated": (port, lambda: iter(again * 50), CONNECTIONS, 1.0),
        "rps_304": (port, lambda: itertools.cycle(unchanged), CONNECTIONS, 1.0),
        "c1": (port, lambda: itertools.islice(fresh(), ALONE), 1, alone),
        "bare c1": (bare, lambda: itertools.islice(fresh(), ALONE), 1, alone),
    }
    told: dict[str, list[Load]] = {name: [] for name in kinds}
    of_cpu = []
    for _ in range(ROUNDS):
        for name, (where, requests, connections, seconds) in kinds.items():
            spent = _cpu(edge)
            load = await run(where, requests(), connections=connections, seconds=seconds)
            told[name].append(load)
            if name == "rps":
                of_cpu.append(len(load.spans) / (_cpu(edge) - spent))
        await asyncio.sleep(0.5)
    return _measured(told, statistics.median(of_cpu), pinned)


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _measured(told: dict[str, list[Load]], of_cpu: float, pinned: bool) -> Measured:
    busy = told["rps"]
    figures: dict[str, Any] = {name: _rate(loads) for name, loads in told.items() if name.startswith("rps")}
    figures |= {
        "rps_of_cpu": round(of_cpu),
        "rps_p99_ms": _span(busy, 0.99),
        "c1_p50_ms": _span(told["c1"], 0.5),
        "c1_p99_ms": _span(told["c1"], 0.99),
        "rounds_rps": [round(load.rate) for load in busy],
        "rounds_c1_p99_ms": [_span([load], 0.99) for load in told["c1"]],
        "answer_bytes": round(busy[0].received / len(busy[0].spans)),
        "odd_answers": sum(
            count
            for loads in told.values()
            for load in loads
            for status, count in load.statuses.items()
            if status not in SOUND
        ),
    }
    alone = told["bare c1"]
    bare = {"rps": _rate(told["bare rps"]), "c1_p50_ms": _span(alone, 0.5), "c1_p99_ms": _span(alone, 0.99)}
    notes = [
        "rps, c1: every context is new, so every answer is decided and written anew; tokens are verified once each.",
        f"{CONNECTIONS} connections; the edge has {'one core' if pinned else 'no core of its own: there is one only'}.",
    ]
    return Measured(figures, peers={"aiohttp that decides nothing": bare}, notes=notes)


def _rate(loads: list[Load]) -> int:
    return round(statistics.median(load.rate for load in loads))


def _span(loads: list[Load], share: float) -> float:
    """Milliseconds."""
    return round(statistics.median(percentile(load.spans, share) for load in loads) * 1000, 3)


if __name__ == "__main__":
    main("ofrep", measure, GOALS)
