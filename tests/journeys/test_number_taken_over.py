"""A number moves to another phone: what the phone before can still do with the account, which is nothing."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from calls.edge.edge import Edge
from tests.journeys.handset import Handset, forged
from tests.journeys.signaling import BLOB, Phone, Problem, Stage, phones, rows, running_edge

pytestmark = pytest.mark.django_db(transaction=True)


def socket_of(handset: Handset, edge: Edge, session: ClientSession) -> Phone:
    return Phone(f"http://127.0.0.1:{edge.env.port}", handset.token, handset.device, session)


def own(stage: Stage, name: str) -> Handset:
    """A phone with keys of this person's number, registered and listed."""
    handset = Handset(stage.number(name)).register()
    handset.publish()
    return handset


async def invite(caller: Phone, ready: dict[str, Any], listed: dict[str, str]) -> str:
    """The code of the refusal, or the state."""
    blobs = dict.fromkeys(ready["callee"]["devices"], BLOB)
    try:
        answer = await caller.ask("invite", call=ready["call"], ticket=ready["ticket"], blobs=blobs, **listed)
    except Problem as problem:
        return str(problem.code)
    return str(answer["state"])


async def test_phone_before__after_the_number_is_registered_anew__has_no_part_in_the_account(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "bob") as (bob,), ClientSession() as session:
        before = await rows(lambda: own(stage, "alice"))
        old = await socket_of(before, edge, session).connect()
        ready = await old.ask("prepare", callee={"phone": stage.number("bob")})

        now = await rows(lambda: own(stage, "alice"))

        assert await old.closed(1) == 4401
        again = await socket_of(before, edge, session).connect()
        assert again.welcome["problem"]["code"] == "not_authenticated"
        headers = {"Authorization": f"Bearer {before.token}"}
        body = {"call": ready["call"], "ticket": ready["ticket"], **before.listed}
        blobs = dict.fromkeys(ready["callee"]["devices"], BLOB)
        async with session.post(f"{old.url}/v1/calls", json={**body, "blobs": blobs}, headers=headers) as answer:
            assert answer.status == 401
        assert (await rows(before.refresh)).status_code == 401
        assert (await rows(before.publish)).status_code == 401
        stands = await rows(lambda: now.ask("GET", "/v1/device-list").json())
        assert {name: stands[name] for name in now.listed} == now.listed
        called = await bob_may_call(stage, bob)
        assert called["devices"] == [now.device]


async def bob_may_call(stage: Stage, bob: Phone) -> dict[str, Any]:
    """Whom bob's phone is told to ring for alice's number."""
    from tests.rollout import cast

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    ready = await bob.ask("prepare", callee={"phone": stage.number("alice")})
    return dict(ready["callee"])


async def test_invite__with_another_list_than_the_callers_own__is_refused(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "bob") as (bob,), ClientSession() as session:
        before, mallory = await rows(lambda: (own(stage, "alice"), own(stage, "carol")))
        now = await rows(lambda: own(stage, "alice"))
        alice = await socket_of(now, edge, session).connect()
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})

        codes = [
            await invite(alice, ready, listed)
            for listed in (before.listed, mallory.listed, forged(mallory.listed), forged(now.listed), now.listed)
        ]

        assert codes == ["device_list_superseded"] * 4 + ["routing"]
        assert (await bob.event("ring"))["from"]["list"] == now.listed["list"]


async def test_device__without_a_list_that_holds_it__calls_nobody(stage: Stage) -> None:
    async with running_edge(stage) as edge, ClientSession() as session:
        before = await rows(lambda: own(stage, "alice"))
        now = await rows(lambda: Handset(before.number).register())
        unlisted = await socket_of(now, edge, session).connect()

        refused = await unlisted.refused("prepare", callee={"phone": stage.number("bob")})

        assert refused["code"] == "device_not_listed"


async def test_prepare__by_a_device_whose_end_the_edge_has_not_heard__is_refused_by_the_database(stage: Stage) -> None:
    async with running_edge(stage, POLL_SECONDS="60") as edge, ClientSession() as session:
        before = await rows(lambda: own(stage, "alice"))
        old = await socket_of(before, edge, session).connect()
        await rows(lambda: Handset(before.number).register())

        refused = await old.refused("prepare", callee={"phone": stage.number("bob")})

        assert refused["code"] == "not_authenticated"
