"""What signaling survives: an emptied Redis, a silent one, PostgreSQL away, an edge that dies, two edges."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp import ClientSession
from aiohttp.test_utils import unused_port
from django.conf import settings

from calls.edge.database import Database
from calls.edge.store import StoreAway
from controlplane.base.refusal import TryAgain
from rollout.models import Grant, Reservation, Window
from tests.journeys.signaling import (
    BLOB,
    Phone,
    Problem,
    Stage,
    connected_call,
    own_list,
    phone,
    phones,
    rows,
    running_edge,
    until,
)
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parent.parent.parent


def store(stage: Stage) -> redis.Redis:
    return redis.Redis.from_url(stage.environment["REDIS_URL"])


async def test_redis_emptied__while_it_rings__ends_the_call_and_the_next_one_works(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        await bob.ask("ringing", call=call)
        with store(stage) as client:
            client.flushdb()

        for each in (alice, bob):
            ended = await each.event("ended", 5)
            assert (ended["call"], ended["reason"], ended["cause"]) == (call, "lost", "store_lost")
        second = await alice.place(stage.number("bob"))
        ring = await bob.event("ring")
        await bob.ask("accept", call=second, blob=BLOB)

        assert ring["call"] == second
        assert ring["seq"] > max(event["seq"] for event in bob.seen if event["t"] == "ended")
        states = await rows(lambda: {str(r.call): r.state for r in Reservation.objects.all()})
        assert states == {call: "released", second: "completed"}


@pytest.mark.parametrize("used", [False, True], ids=["empty inboxes", "used inboxes"])
async def test_redis_emptied__call_placed_before_the_edge_notices__rings_once_and_is_answered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, used: bool
) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        if used:
            earlier = await alice.place(stage.number("bob"))
            await bob.event("ring")
            await alice.ask("cancel", call=earlier)
            await bob.event("ended")
        monkeypatch.setattr("calls.edge.watch.EPOCH_SECONDS", 2.0)
        await asyncio.sleep(0.6)  # the look that began before has ended
        epoch, numbers = edge.store.known_epoch, [event["seq"] for event in bob.seen]
        with store(stage) as client:
            client.flushdb()

        call = await alice.place(stage.number("bob"))
        assert edge.store.known_epoch == epoch
        await until(lambda: edge.store.known_epoch != epoch)
        await until(lambda: any(event["call"] == call for event in bob.seen if event["t"] == "ring"))
        await bob.ask("ringing", call=call)
        answered = await bob.ask("accept", call=call, blob=BLOB)
        accepted = await alice.event("accepted")
        await asyncio.sleep(0.5)

    assert (answered, accepted["call"]) == ({"state": "accepted"}, call)
    heard = [[event["t"] for event in each.seen if event.get("call") == call] for each in (alice, bob)]
    assert heard == [["ringing", "accepted"], ["ring"]]
    shown = [event["seq"] for event in bob.seen]
    assert shown == sorted(set(shown)), numbers


async def test_redis_emptied__in_a_running_call__comes_back_by_its_ticket_and_can_be_stopped(stage: Stage) -> None:
    from django.utils import timezone

    from rollout.actions import features

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        await alice.invite(ready)
        call = ready["call"]
        ticket = (await bob.event("ring"))["ticket"]
        await bob.ask("accept", call=call, blob=BLOB)
        await alice.ask("connected", call=call)
        await bob.ask("connected", call=call)
        with store(stage) as client:
            epoch = edge.store.known_epoch
            client.flushdb()
        await until(lambda: edge.store.known_epoch != epoch)

        without = await alice.refused("alive", call=call)
        restored = await alice.ask("alive", call=call, ticket=ready["ticket"])
        other_end = await bob.ask("alive", call=call, ticket=ticket)
        await rows(lambda: features.kill(cast.CALLS, actor=cast.OPERATOR, now=timezone.now(), end_calls=True))

        assert without["code"] == "call_unknown"
        assert restored == other_end == {"state": "connected"}
        assert (await alice.event("ended", 3))["reason"] == "stopped"
        assert (await bob.event("ended", 3))["reason"] == "stopped"


async def test_ticket__of_a_call_that_merely_ended__brings_nothing_back(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        await alice.invite(ready)
        await alice.ask("cancel", call=ready["call"])
        with store(stage) as client:
            client.delete(f"rc:call:{ready['call']}")  # as after two minutes
        edge.arbiter.known.clear()

        refused = await alice.refused("alive", call=ready["call"], ticket=ready["ticket"])

        assert refused["code"] == "call_over"


@pytest.mark.parametrize("how", ["only prepared", "ended before"])
async def test_redis_emptied__ticket_of_a_call_that_doesn_t_run__makes_no_ghost(stage: Stage, how: str) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        if how == "ended before":
            await alice.invite(ready)
            await bob.event("ring")
            await bob.ask("accept", call=ready["call"], blob=BLOB)
            for each in (alice, bob):
                await each.ask("connected", call=ready["call"])
            await alice.ask("end", call=ready["call"], reason="hangup")
            await asyncio.sleep(0.3)  # the journal writes
        epoch = edge.store.known_epoch
        with store(stage) as client:
            client.flushdb()
        edge.arbiter.known.clear()
        await until(lambda: edge.store.known_epoch != epoch)

        refused = await alice.refused("alive", call=ready["call"], ticket=ready["ticket"])

        assert (refused["code"], refused["reason"]) == ("call_over", "lost")
        assert edge.arbiter.concurrent(edge.arbiter.clock()) == {}


async def test_redis_silent__for_a_while__blocks_nobody(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await connected_call(alice, bob, stage.number("bob"))
        with store(stage) as client:
            client.execute_command("CLIENT", "PAUSE", 1500, "ALL")
        times = []
        for _ in range(5):
            started = time.monotonic()
            refused = await alice.refused("alive", call=call)
            times.append(time.monotonic() - started)
            assert refused["code"] == "try_again"
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)

        assert max(times) < 1, "whoever was blocked waited for the end of the silence"
        assert await alice.ask("alive", call=call) == {"state": "connected"}


async def test_edge__started_while_redis_is_away__serves_within_five_seconds(stage: Stage) -> None:
    started = time.monotonic()
    async with (
        running_edge(stage, REDIS_URL=f"redis://127.0.0.1:{unused_port()}/0") as edge,
        ClientSession() as session,
    ):
        took = time.monotonic() - started
        async with session.get(f"http://127.0.0.1:{edge.env.port}/readyz") as answer:
            ready = await answer.json()

    assert took < 5
    assert (ready["ok"], ready["store"]) == (True, "away")


async def test_edge__whose_report_meets_a_damaged_one__goes_on_reporting(stage: Stage) -> None:
    async with running_edge(stage) as edge:
        with store(stage) as client:
            client.hset("rc:edges", "edge-damaged", "{")
            await asyncio.sleep(0.5)
            client.hdel("rc:edges", edge.store.edge)

            await until(lambda: client.hexists("rc:edges", edge.store.edge))
            assert not client.hexists("rc:edges", "edge-damaged")


async def test_two_edges__one_with_a_wall_clock_far_ahead__agree_what_time_it_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    true_time = time.time_ns
    async with running_edge(stage) as one:
        monkeypatch.setattr("calls.edge.clock.time.time_ns", lambda: true_time() + 600 * 10**9)
        async with running_edge(stage) as two, phones(stage, one, "alice", "bob") as (alice, bob):
            call = await alice.place(stage.number("bob"))
            await bob.event("ring")
            await asyncio.sleep(0.6)  # two rounds of the other edge's sweep

            assert abs(two.clock() - one.clock()) < 200
            assert await bob.ask("ringing", call=call) == {"state": "ringing"}


async def test_two_edges__carry_one_call_between_them(stage: Stage) -> None:
    async with (
        running_edge(stage) as one,
        running_edge(stage) as two,
        phones(stage, one, "alice") as (alice,),
        phones(stage, two, "bob") as (bob,),
        ClientSession() as session,
    ):
        call = await connected_call(alice, bob, stage.number("bob"))
        moved = await phone(stage, one, "bob", session).connect(
            last_seq=bob.seen[-1]["seq"], epoch=bob.welcome["epoch"], resume=bob.welcome["session"]
        )
        assert await bob.closed() == 4409
        await alice.ask("relay", call=call, blob=BLOB)
        await moved.event("relay")
        await moved.ask("end", call=call, reason="hangup")

        assert (await alice.event("ended"))["reason"] == "hangup"
        now = one.inboxes.clock()
        await until(lambda: not one.arbiter.concurrent(now) and not two.arbiter.concurrent(now))


async def test_database_away__refuses_new_calls_in_time_and_lets_running_ones_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await connected_call(alice, bob, stage.number("bob"))
        edge.database.url = f"postgresql://nobody@127.0.0.1:{unused_port()}/nothing"
        for connection in edge.database._idle:
            connection.pgconn.finish()
        edge.database._idle.clear()

        started = time.monotonic()
        refused = [await alice.refused("prepare", callee={"phone": stage.number("bob")}) for _ in range(4)]
        took = time.monotonic() - started
        relayed = await alice.ask("relay", call=call, blob=BLOB)

        assert {problem["code"] for problem in refused} == {"try_again"}
        assert {problem["retry_after"] for problem in refused} == {2}
        assert took < 6
        assert edge.database.available is False
        assert relayed == {}
        assert await alice.ask("alive", call=call) == {"state": "connected"}


async def test_database__that_is_stopped__is_given_up_in_time_and_found_again(stage: Stage) -> None:
    database = Database(stage.environment["DATABASE_URL"], deadline=0.3)
    assert await database.row("SELECT 1") == (1,)
    times = []
    for _ in range(4):
        started = time.monotonic()
        with pytest.raises(TryAgain):
            await database.row("SELECT pg_sleep(5)")
        times.append(time.monotonic() - started)
    refused_at_once = times[3]
    await asyncio.sleep(2.1)

    assert max(times) < 0.6
    assert refused_at_once < 0.05
    assert await database.row("SELECT 2") == (2,)
    assert database.available
    await database.close()


async def test_new_socket__that_redis_gave_no_place__leaves_the_old_one_as_it_was(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with (
        running_edge(stage) as edge,
        phones(stage, edge, "alice", "bob") as (alice, bob),
        ClientSession() as session,
    ):
        attach = edge.store.attach

        async def nowhere(*given: Any) -> Any:
            raise StoreAway

        edge.store.attach = nowhere  # type: ignore[method-assign]
        second = await phone(stage, edge, "bob", session).connect()
        edge.store.attach = attach  # type: ignore[method-assign]
        call = await alice.place(stage.number("bob"))

        assert second.welcome["problem"]["code"] == "try_again"
        assert (await bob.event("ring", 2))["call"] == call


async def test_invite__whose_step_redis_took_without_a_word__rings_and_can_be_answered(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        commit, lost = edge.store.commit, []

        async def in_silence(*given: Any) -> Any:
            done = await commit(*given)
            if not lost:
                lost.append(done)
                raise StoreAway
            return done

        edge.store.commit = in_silence  # type: ignore[method-assign]
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        with pytest.raises(Problem) as refused:
            await alice.invite(ready, id="once")
        again = await alice.invite(ready, id="once")
        ring = await bob.event("ring")
        accepted = await bob.ask("accept", call=ring["call"], blob=BLOB)

        assert refused.value.code == "try_again"
        assert again == {"state": "routing"}
        assert ring["activates"] is True
        assert accepted == {"state": "accepted"}


async def test_accept__whose_reply_was_lost__is_settled_by_the_grant_row(stage: Stage) -> None:
    async with (
        running_edge(stage, ACCEPTING_SECONDS="0.5") as edge,
        phones(stage, edge, "alice", "bob") as (alice, bob),
    ):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        real = edge.database.row

        async def lost(sql: str, args: tuple[object, ...] = (), **more: object) -> object:
            answer = await real(sql, args)  # type: ignore[arg-type]
            if "rollout_complete" in sql:
                edge.database.row = real  # type: ignore[method-assign]
                raise TryAgain
            return answer

        edge.database.row = lost  # type: ignore[method-assign,assignment]
        refused = await bob.refused("accept", call=call, blob=BLOB)
        accepted = await alice.event("accepted", 3)

        assert refused["code"] == "try_again"
        assert accepted["call"] == call
        assert await rows(lambda: Grant.objects.filter(call=call).count()) == 1
        assert await rows(lambda: Window.objects.get().used) == 1


async def test_accept__that_never_reached_the_database__ends_the_call(stage: Stage) -> None:
    async with (
        running_edge(stage, ACCEPTING_SECONDS="0.5") as edge,
        phones(stage, edge, "alice", "bob") as (alice, bob),
    ):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        real = edge.database.row

        async def away(sql: str, args: tuple[object, ...] = (), **more: object) -> object:
            if "rollout_complete" in sql:
                raise TryAgain
            return await real(sql, args)  # type: ignore[arg-type]

        edge.database.row = away  # type: ignore[method-assign,assignment]
        await bob.refused("accept", call=call, blob=BLOB)
        ended = await alice.event("ended", 3)

        assert (ended["reason"], ended["cause"]) == ("not_activated", "overdue")
        assert await rows(lambda: (Grant.objects.filter(call=call).count(), Window.objects.get().pending)) == (0, 0)


@pytest.mark.stack
async def test_edge_killed__while_it_rings__phones_come_back_and_the_same_two_call_again(
    stage: Stage, tmp_path: Path
) -> None:
    port = unused_port()
    values = {
        **stage.environment, "PORT": str(port), "CONSOLE_PORT": str(unused_port()), "POLL_SECONDS": "0.1",
        "ROLLCALL_SECRET": settings.ENV.secret.hex(), "ROLLCALL_DATA": str(tmp_path),
    }  # fmt: skip

    async def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "manage.py", "edge"], cwd=ROOT, env=values)
        async with ClientSession() as session:
            for _ in range(100):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as ready:
                        if ready.status == 200:
                            return process
                except OSError:
                    pass
                await asyncio.sleep(0.1)
        process.kill()
        raise AssertionError("the edge did not start")

    def a_phone(name: str, session: ClientSession) -> Phone:
        device = stage.devices[name]
        return Phone(f"http://127.0.0.1:{port}", stage.tokens[name], str(device.id), session, own_list(device))

    process = await start()
    try:
        async with ClientSession() as session:
            alice, bob = [await a_phone(name, session).connect() for name in ("alice", "bob")]
            first = await alice.place(stage.number("bob"))
            await bob.event("ring")
            await bob.ask("ringing", call=first)
            os.kill(process.pid, signal.SIGKILL)
            process.wait(5)
            process = await start()
            alice, bob = [await a_phone(name, session).connect() for name in ("alice", "bob")]

            second = await alice.place(stage.number("bob"))
            replaced = await bob.event("ended", 5)
            await bob.ask("accept", call=second, blob=BLOB)

            assert (replaced["call"], replaced["reason"]) == (first, "replaced")
            assert (await alice.event("accepted"))["call"] == second
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(5)
