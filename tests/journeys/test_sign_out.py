"""Sessions end: a phone that signs out, is revoked or lets its token expire is heard and rung no more, anywhere."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from aiohttp import ClientSession
from django.utils import timezone

from calls.edge import watch
from calls.edge.edge import Edge
from controlplane.accounts.actions.devices import revoke_device
from controlplane.accounts.actions.tokens import mint
from tests.journeys.handset import Handset, post
from tests.journeys.signaling import BLOB, Phone, Stage, phones, rows, running_edge, until
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def address(edge: Edge, path: str = "") -> str:
    return f"http://127.0.0.1:{edge.env.port}{path}"


async def status(session: ClientSession, edge: Edge, path: str, token: str) -> int:
    async with session.get(address(edge, path), headers=bearer(token)) as answer:
        return answer.status


async def test_signing_out__ends_socket_stream_poll_token_and_inbox__within_a_second(stage: Stage) -> None:
    def prepare() -> Handset:
        cast.grant(stage.launch.feature, stage.launch.bob)
        handset = Handset(stage.number("bob")).register()
        handset.publish()
        return handset

    async with running_edge(stage) as edge, ClientSession() as session:
        bob = await rows(prepare)
        socket = await Phone(address(edge), bob.token, bob.device, session).connect()
        flags = {"context": {}}
        async with session.post(
            address(edge, "/ofrep/v1/evaluate/flags"), json=flags, headers=bearer(bob.token)
        ) as answer:
            told = (await answer.json())["eventStreams"][0]["url"]
        stream = await session.get(address(edge, told[told.index("/ofrep") :]))
        poll = asyncio.create_task(status(session, edge, "/v1/calls/inbox?after=0&wait=20", bob.token))
        await until(lambda: edge.inboxes.waiting.get(bob.device))

        started = time.monotonic()
        await rows(lambda: post("/v1/tokens/revoke", {"refresh_token": bob.session["refresh_token"]}))

        assert await socket.closed(1) == 4401
        assert socket.bye is not None
        assert (socket.bye["code"], socket.bye["cause"]) == ("not_authenticated", "signed_out")
        assert await poll == 401
        await asyncio.wait_for(stream.content.read(), 1)
        assert await status(session, edge, "/v1/me/features", bob.token) == 401
        assert await status(session, edge, "/v1/calls/inbox", bob.token) == 401
        assert time.monotonic() - started < 1
        assert (await rows(lambda: bob.ask("GET", "/v1/me"))).status_code == 401
        assert (await rows(bob.refresh)).status_code == 401


async def test_ring__of_a_device_that_is_revoked__ends_and_is_forgotten(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        bob.acks = False
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        await rows(lambda: revoke_device(stage.devices["bob"].id, now=timezone.now()))

        ended = await alice.event("ended", 1)

        assert (ended["call"], await bob.closed(1)) == (call, 4401)
        await edge.arbiter.drain(1)
        assert await edge.store.redis.exists(f"rc:inbox:{bob.device}") == 0


async def test_call__to_a_phone_that_signed_out_after_prepare__rings_nobody(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        await rows(lambda: revoke_device(stage.devices["bob"].id, now=timezone.now()))
        await until(lambda: edge.feed.is_revoked(str(stage.devices["bob"].id)))

        sealed = dict.fromkeys(ready["callee"]["devices"], BLOB)
        refused = await alice.refused(
            "invite", call=ready["call"], ticket=ready["ticket"], blobs=sealed, **alice.listed
        )

        assert refused["code"] == "ticket_expired"


@pytest.mark.parametrize("can_refresh", [True, False])
async def test_socket__whose_token_expires__closes_unless_tokens_cannot_be_refreshed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, can_refresh: bool
) -> None:
    monkeypatch.setattr(watch, "EXPIRY_SECONDS", 0.05)
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        monkeypatch.setattr(type(edge), "grace", lambda self: 0 if can_refresh else 3600)
        edge.sockets.grace = edge.grace
        ran_out = int(time.time()) - 10
        for each in (alice, bob):
            session = edge.inboxes.sessions[each.device]
            session.token = replace(session.token, expires_at=ran_out)
        assert bob.socket is not None
        fresh = await rows(lambda: mint(stage.devices["bob"], claims={}, now=timezone.now()))
        await bob.socket.send_json({"k": "token", "token": fresh})

        if can_refresh:
            assert await alice.closed(1) == 4401
            assert alice.bye is not None
            assert alice.bye["cause"] == "token_expired"
        else:
            await asyncio.sleep(0.3)
            assert (await alice.refused("ringing", call=str(stage.devices["bob"].id)))["code"] == "call_unknown"
