"""OFREP's bulk over HTTP with authentication: an edge on one core, the load on the other, 100 features of five rules.

Each request of `rps` and `c1_p99_ms` has a context that was never sent before, so all 100 decisions are made and
written anew; phones send their own access tokens, each verified once. `rps_repeated` are requests that were answered
before, `rps_304` those with the ETag of an unchanged answer. Medians of rounds.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.decisions import feature
from benchmarks.harness import Goal, Measured, main, percentile
from benchmarks.load import Load, post, run
from benchmarks.stand import Stand, pin
from benchmarks.workload import flags, people

GOALS = {"rps": Goal(least=2_500), "c1_p99_ms": Goal(most=2)}
BULK = "/ofrep/v1/evaluate/flags"
PHONES = 1_000
CONNECTIONS = 16
SECONDS = 3.0
ALONE = 1_500  # requests of one client in a round
ROUNDS = 5
SAME_ANSWERS = 100  # phones whose answers are asked for again

Requests = Callable[[], Iterator[bytes]]


def fill() -> tuple[list[str], str]:
    """A hundred features, published; the tokens of a thousand phones, and an API key."""
    from django.utils import timezone

    from controlplane.accounts.actions.keys import create_key
    from controlplane.audit.record import Actor
    from rollout.actions import rulesets
    from rollout.models import Feature

    actor, now = Actor.operator("benchmark"), timezone.now()
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

    claims = {
        "iss": "rollcall", "sub": subscriber, "did": subscriber, "iat": issued, "exp": issued + 3600, "jti": "b",
        "tr": traits, "g": {}, "fr": [],
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
        pinned = pin(stand.pid(0), -1) and pin(0, 0)
        return uvloop.run(_measure(port, tokens, key, pinned))


async def _measure(port: int, tokens: list[str], key: str, pinned: bool) -> Measured:
    phones = [{"Authorization": f"Bearer {token}"} for token in tokens]
    fresh = new_contexts(phones)
    backend = new_contexts([{"X-API-Key": key}])
    again = [post(BULK, headers, b'{"context":{}}') for headers in phones[:SAME_ANSWERS]]
    unchanged = [post(BULK, {**headers, "If-None-Match": "*"}, b'{"context":{}}') for headers in phones]
    await run(port, itertools.islice(fresh(), PHONES), connections=CONNECTIONS, seconds=60)  # each token is verified
    kinds: dict[str, tuple[Requests, int, float]] = {
        "rps": (fresh, CONNECTIONS, SECONDS),
        "rps_api_key": (backend, CONNECTIONS, 1.0),
        "rps_repeated": (lambda: iter(again * 50), CONNECTIONS, 1.0),
        "rps_304": (lambda: itertools.cycle(unchanged), CONNECTIONS, 1.0),
        "c1": (lambda: itertools.islice(fresh(), ALONE), 1, 60.0),
    }
    told: dict[str, list[Load]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (requests, connections, seconds) in kinds.items():
            told[name].append(await run(port, requests(), connections=connections, seconds=seconds))
        await asyncio.sleep(0.5)
    return _figures(told, pinned)


def _figures(told: dict[str, list[Load]], pinned: bool) -> Measured:
    figures: dict[str, Any] = {
        name: round(statistics.median(load.rate for load in loads)) for name, loads in told.items() if name != "c1"
    }
    alone = told["c1"]
    for share, name in ((0.5, "c1_p50_ms"), (0.99, "c1_p99_ms")):
        figures[name] = round(statistics.median(percentile(load.spans, share) for load in alone) * 1000, 3)
    busy = told["rps"]
    figures["rps_p99_ms"] = round(statistics.median(percentile(load.spans, 0.99) for load in busy) * 1000, 3)
    figures["rounds_rps"] = [round(load.rate) for load in busy]
    figures["answer_bytes"] = round(busy[0].received / len(busy[0].spans))
    odd = {status for loads in told.values() for load in loads for status in load.statuses} - {200, 304}
    figures["odd_statuses"] = sorted(odd)
    notes = [
        "rps, c1: every context is new, so every answer is decided and written anew; tokens are verified once each.",
        f"{CONNECTIONS} connections; the edge has {'one core' if pinned else 'no core of its own: there is one only'}.",
    ]
    return Measured(figures, notes=notes)


if __name__ == "__main__":
    main("ofrep", measure, GOALS)
