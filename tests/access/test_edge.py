"""Every address of the edge, asked by everybody who has something to show there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession
from django.utils import timezone

from calls.edge.app import build
from calls.edge.edge import Edge
from rollout.actions import rulesets
from tests import builders
from tests.access.table import EDGE, MAY, Caller, lines
from tests.journeys.signaling import Stage, build_stage, running_edge
from tests.rollout import cast

PLACES = {
    "{path}": "index.html",
    "{call}": "018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e5f",
    "{op}": "end",
    "{key}": "voice-calls",
}
REGISTRATION = "/v1/registration"


def addresses(edge: Edge) -> Iterator[tuple[str, str]]:
    """(method, address) of everything that an edge answers; what takes any method is ANY, and HEAD goes with GET."""
    for route in build(edge).router.routes():
        assert route.resource is not None
        if route.method != "HEAD":
            yield route.method.replace("*", "ANY"), route.resource.canonical


def filled(address: str) -> str:
    path = REGISTRATION if address == "/v1/{path}" else address
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return path


@pytest.fixture
def carried(
    stack_environment: dict[str, str], redis_url: str, tmp_path: object
) -> tuple[Stage, dict[Caller, dict[str, str]]]:
    """The stage, and the headers of everybody."""
    keys = {each: builders.api_key(each.name.lower())[0] for each in (Caller.EVALUATE, Caller.READ, Caller.OPERATE)}
    keys[Caller.REVOKED] = builders.api_key(revoked_at=timezone.now())[0]
    stage = build_stage(stack_environment, tmp_path)  # type: ignore[arg-type]
    rulesets.publish(cast.OPERATOR, timezone.now())
    headers = {caller: {"X-API-Key": key} for caller, key in keys.items()}
    return stage, headers | {Caller.ANONYMOUS: {}, Caller.PHONE: {"Authorization": f"Bearer {stage.tokens['alice']}"}}


@pytest.fixture
async def edge(carried: tuple[Stage, object]) -> AsyncIterator[Edge]:
    async with running_edge(carried[0]) as running:
        yield running


async def test_addresses__of_the_edge__all_stand_in_the_table(edge: Edge) -> None:
    assert set(addresses(edge)) == set(lines(EDGE))


async def test_every_address__of_the_edge__lets_in_whom_the_table_says(
    edge: Edge, carried: tuple[Stage, dict[Caller, dict[str, str]]]
) -> None:
    wrong = []
    async with ClientSession(f"http://127.0.0.1:{edge.env.port}") as session:
        for (method, address), least in lines(EDGE).items():
            path = filled(address)
            for caller, headers in carried[1].items():
                asked = method.replace("ANY", "DELETE")
                answer = await session.request(asked, path, headers=headers, json={}, allow_redirects=False)
                let_in = answer.status not in (401, 403)
                if let_in != (caller in MAY[least]):
                    wrong.append(f"{asked} {address} {'lets in' if let_in else 'refuses'} {caller}; it takes {least}")

    assert "\n".join(wrong) == ""
