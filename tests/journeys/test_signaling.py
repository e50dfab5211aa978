"""Calls between two phones over real sockets, PostgreSQL and Redis: from prepare to the end, in every way they end."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections
from django.utils import timezone

from calls.edge.limits import PREPARE_DAY
from calls.models import CallRecord
from rollout.models import Feature, Grant, Refusal, Reservation, Window
from tests.journeys.signaling import BLOB, Problem, Stage, connected_call, phone, phones, rows, running_edge, until
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)


async def test_call__to_somebody_not_enabled__turns_calling_on_and_connects(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")}, media="audio")
        await alice.invite(ready)
        call = ready["call"]

        ring = await bob.event("ring")
        await bob.ask("ringing", call=call)
        ringing = await alice.event("ringing")
        accepted = await bob.ask("accept", call=call, blob=BLOB)
        answer = await alice.event("accepted")
        grant = await bob.event("grant", 1)
        await alice.ask("relay", call=call, blob=BLOB)
        relayed = await bob.event("relay")
        linked = [await each.ask("connected", call=call) for each in (alice, bob)]
        await alice.event("connected")
        await alice.ask("alive", call=call)
        await bob.ask("end", call=call, reason="hangup")
        ended = await alice.event("ended")

        assert (ready["expires_in"], ready["ring_seconds"], ready["ice_servers"]) == (60, 45, [])
        assert ready["callee"]["devices"] == [bob.device]
        assert ready["callee"]["phone"] == stage.number("bob")
        assert (ring["activates"], ring["media"], ring["lifetime"]) == (True, "audio", 60)
        assert ring["from"]["phone"] == stage.number("alice")
        assert ringing["device"] == answer["device"] == bob.device
        assert accepted == {"state": "accepted"}
        assert linked == [{"state": "accepted"}, {"state": "connected"}]
        assert (grant["feature"], grant["source"]) == ("voice-calls", "invite")
        assert relayed["blob"] == BLOB
        assert (ended["reason"], ended["words"]) == ("hangup", "The call ended.")
        await until(lambda: not edge.journal._rows)
        record = await rows(lambda: CallRecord.objects.get(id=call))
        assert (record.state, record.reason, record.activating) == ("ended", "hangup", True)
        assert record.connected_at is not None
        held = await rows(lambda: list(Grant.objects.filter(call=call).values_list("subscriber_id", "source")))
        assert held == [(stage.launch.bob.id, "invite")]


async def test_plain_call__to_somebody_enabled__rings_without_activating(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        ring = await bob.event("ring")

        assert (ring["call"], ring["activates"]) == (call, False)
        assert await rows(lambda: Reservation.objects.count()) == 0


@pytest.mark.parametrize(("op", "reason"), [("decline", "declined"), ("busy", "busy")])
async def test_callee__who_refuses__ends_the_call_and_frees_the_place(stage: Stage, op: str, reason: str) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")

        await bob.ask(op, call=call)

        assert (await alice.event("ended"))["reason"] == reason
        assert await no_place_is_held(stage)


async def test_cancel__while_it_rings__ends_both_and_frees_the_place(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        await bob.ask("ringing", call=call)

        answer = await alice.ask("cancel", call=call)
        late = await bob.refused("accept", call=call, blob=BLOB)

        assert answer == {"state": "ended", "reason": "cancelled"}
        assert (await bob.event("ended"))["reason"] == "cancelled"
        assert (late["code"], late["reason"]) == ("call_over", "cancelled")
        assert await no_place_is_held(stage)


@pytest.mark.parametrize(
    ("rings", "knobs", "reason"),
    [(True, {"RING_SECONDS": "0.4"}, "no_answer"), (False, {"ROUTE_SECONDS": "0.4"}, "unreachable")],
)
async def test_call__that_nobody_answers__ends_by_its_timer(
    stage: Stage, rings: bool, knobs: dict[str, str], reason: str
) -> None:
    async with running_edge(stage, **knobs) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        if rings:
            await bob.event("ring")
            await bob.ask("ringing", call=call)

        assert (await alice.event("ended", 3))["reason"] == reason
        assert await no_place_is_held(stage)


async def test_timers__of_an_answered_call__end_it_without_media_and_without_life(stage: Stage) -> None:
    knobs = {"SETUP_SECONDS": "0.4", "ALIVE_SECONDS": "0.6"}
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage, **knobs) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        await bob.ask("accept", call=call, blob=BLOB)
        failed = await alice.event("ended", 3)
        await connected_call(alice, bob, stage.number("bob"))
        lost = await alice.event("ended", 3)

        assert (failed["reason"], lost["reason"]) == ("setup_failed", "lost")


async def test_accept__after_the_window_closed__ends_and_tells_both_why(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(stage.number("bob"))
        await bob.event("ring")
        await bob.ask("ringing", call=call)
        await rows(lambda: cast.close(stage.launch.window.id))

        refused = await bob.refused("accept", call=call, blob=BLOB)

        assert (refused["code"], refused["reason"], refused["cause"]) == ("call_over", "not_activated", "window_closed")
        for each in (alice, bob):
            ended = await each.event("ended")
            assert (ended["reason"], ended["cause"]) == ("not_activated", "window_closed")
            assert "window closed" in ended["words"]
        assert await rows(lambda: Grant.objects.filter(subscriber=stage.launch.bob).exists()) is False


async def test_offered__activates_the_callee_by_being_called(stage: Stage) -> None:
    await rows(lambda: Window.objects.update(activate_on="offered"))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        await alice.place(stage.number("bob"))

        grant = await bob.event("grant", 1)
        ring = await bob.event("ring")

        assert grant["source"] == "invite"
        assert ring["activates"] is False


async def test_accept_against_cancel__exactly_one_wins_and_both_learn_which(stage: Stage) -> None:
    outcomes = set()
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        for turn in range(12):
            call = await alice.place(stage.number("bob"))
            await bob.event("ring")
            await bob.ask("ringing", call=call)
            first, second = ("accept", "cancel") if turn % 2 else ("cancel", "accept")
            asks = {
                "accept": lambda call=call: bob.ask("accept", call=call, blob=BLOB),
                "cancel": lambda call=call: alice.ask("cancel", call=call),
            }
            results = await asyncio.gather(asks[first](), asks[second](), return_exceptions=True)
            by_op = dict(zip((first, second), results, strict=True))
            accepted, cancelled = (not isinstance(by_op[op], Exception) for op in ("accept", "cancel"))
            assert accepted != cancelled, by_op
            loser = by_op["cancel"] if accepted else by_op["accept"]
            assert loser.code == ("too_late" if accepted else "call_over")
            outcomes.add(accepted)
            if accepted:
                await alice.ask("end", call=call, reason="hangup")
            await bob.event("ended")
            await asyncio.sleep(0.3)  # phones may send 20 frames a second

    assert outcomes == {True, False}


async def test_glare__second_invite_is_told_the_first(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        ready = await bob.ask("prepare", callee={"phone": stage.number("alice")})
        call = await alice.place(stage.number("bob"))

        glare = None
        try:
            await bob.invite(ready)
        except Exception as problem:
            glare = problem
        await bob.ask("accept", call=call, blob=BLOB)

        assert glare is not None
        assert (glare.code, glare.body["call"]) == ("glare", call)
        assert (await alice.event("accepted"))["call"] == call


async def test_same_caller__calling_again__replaces_the_older_call_and_its_reservation(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        first = await alice.place(stage.number("bob"))
        await bob.event("ring")

        second = await alice.place(stage.number("bob"))

        ended = await bob.event("ended")
        assert (ended["call"], ended["reason"]) == (first, "replaced")
        assert (await bob.event("ring"))["call"] == second
        states = await rows(lambda: {str(r.call): r.state for r in Reservation.objects.all()})
        assert (states[first], states[second]) == ("released", "pending")


async def test_kill__ends_running_calls_and_refuses_new_ones(stage: Stage) -> None:
    from rollout.actions import features

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        await connected_call(alice, bob, stage.number("bob"))

        await rows(lambda: features.kill(cast.CALLS, actor=cast.OPERATOR, now=timezone.now(), end_calls=True))

        assert (await alice.event("ended", 2))["reason"] == "stopped"
        assert (await bob.event("ended", 2))["reason"] == "stopped"
        refused = await alice.refused("prepare", callee={"phone": stage.number("bob")})
        assert (refused["code"], refused["cause"]) == ("stopped", "killed")


async def test_plain_call__on_an_edge_that_slept_through_a_kill__is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollout.actions import features

    monkeypatch.setattr("calls.edge.gate.NEWS_SECONDS", 5.0)  # the machine may be busy
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))

    def kill() -> None:
        try:
            features.kill(cast.CALLS, actor=cast.OPERATOR, now=timezone.now())
        finally:
            connections.close_all()

    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        ready = await alice.ask("prepare", callee={"phone": stage.number("bob")})
        look = edge.watcher._look_at_rulesets

        async def slow_look(connection: Any) -> None:
            await asyncio.sleep(0.3)
            await look(connection)

        edge.watcher._look_at_rulesets = slow_look  # type: ignore[method-assign]
        with ThreadPoolExecutor(1) as pool:  # the whole process stands still, but for the thread that kills
            pool.submit(kill).result()
        time.sleep(1.5)

        with pytest.raises(Problem) as refused:
            await alice.invite(ready)

    assert (refused.value.code, refused.value.body["cause"]) == ("stopped", "killed")
    assert not [event for event in bob.seen if event["t"] == "ring"]


@pytest.mark.parametrize(("switch", "cause"), [("killed", "killed"), ("off", "switched_off")])
async def test_kill__that_this_edge_has_not_heard_of__stops_new_calls_all_the_same(
    stage: Stage, switch: str, cause: str
) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        await rows(lambda: Feature.objects.update(switch=switch))  # no ruleset is published, no doorbell rung

        refused = await alice.refused("prepare", callee={"phone": stage.number("bob")})

    assert (refused["code"], refused["cause"]) == ("stopped", cause)


async def test_off__lets_running_calls_finish(stage: Stage) -> None:
    from rollout.actions import features

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await connected_call(alice, bob, stage.number("bob"))

        await rows(lambda: features.switch_off(cast.CALLS, actor=cast.OPERATOR, now=timezone.now()))
        await until(lambda: edge.rulesets.current.features[cast.CALLS].feature.switch == "off")

        assert (await alice.refused("prepare", callee={"phone": stage.number("bob")}))["code"] == "stopped"
        assert await alice.ask("alive", call=call) == {"state": "connected"}


async def test_revoked_grant__ends_the_call(stage: Stage) -> None:
    from rollout.actions.grants import revoke_grant

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        await connected_call(alice, bob, stage.number("bob"))

        await rows(lambda: revoke_grant(stage.launch.root.id, actor=cast.OPERATOR, now=timezone.now()))

        assert (await bob.event("ended", 3))["reason"] == "grant_ended"
        assert (await alice.refused("prepare", callee={"phone": stage.number("bob")}))["code"] == "not_enabled"


async def test_load__of_an_area__is_reported_with_its_calls(stage: Stage) -> None:
    import json

    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await connected_call(alice, bob, stage.number("bob"))
        await asyncio.sleep(0.5)
        with redis.Redis.from_url(stage.environment["REDIS_URL"]) as client:
            report = json.loads(client.hget("rc:edges", edge.name))
            live = client.zrange("rc:live:DE", 0, -1)
            await alice.ask("end", call=call, reason="hangup")
            await asyncio.sleep(0.5)
            after = json.loads(client.hget("rc:edges", edge.name))
            left = client.zcard("rc:live:DE")

    assert report["areas"]["DE"] == {"concurrent": 1, "attempts": 1, "setups": 1}
    assert report["sockets"] == 2
    assert [each.decode() for each in live] == [call]
    assert (after["areas"]["DE"]["concurrent"], left) == (0, 0)


@pytest.mark.parametrize("state", ["ramp", "hold"])
async def test_refusal__of_somebody_whose_carrier_has_an_area_and_a_window__is_that_of_an_unknown_number(
    stage: Stage, state: str
) -> None:
    def of_a_carrier() -> str:
        from controlplane.accounts.models import Block
        from tests.journeys.signaling import add_phone

        area = cast.area(key="DE-E", countries=["DE"], carriers=["eplus"], state=state)
        cast.window(stage.launch.feature, closes_at=cast.shortly(600)).areas.set([area])
        (blocked,) = cast.people(1, carrier="eplus")
        add_phone(blocked)
        Block.objects.create(blocker=blocked, blocked=stage.launch.alice)
        return settings.KEYS.unseal_phone(bytes(blocked.phone_sealed))

    number = await rows(of_a_carrier)
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        refused = await alice.refused("prepare", callee={"phone": number})
        unknown = await alice.refused("prepare", callee={"phone": "+4930901899999"})

    assert refused == unknown
    assert (refused["window"], refused["invite"]) == ({"state": "open"}, "ok")


async def test_refusals__about_the_callee__are_the_same_bytes_whatever_the_cause(stage: Stage) -> None:
    def prepare_causes() -> dict[str, str]:
        from controlplane.accounts.models import Block, Subscriber
        from rollout.actions.rulesets import publish
        from rollout.models import Feature
        from tests import builders
        from tests.journeys.signaling import add_phone

        causes = {"unknown": "+4930901899999"}
        blocked, opted_out, enabled_blocked, no_device, old = cast.people(5)
        for person in (blocked, opted_out, enabled_blocked):
            add_phone(person)
        add_phone(old, app_version="1.0.0")
        Feature.objects.update(requirements={"platforms": {"android": {"app": "2.0.0"}}})
        publish(cast.OPERATOR, timezone.now())
        Block.objects.create(blocker=blocked, blocked=stage.launch.alice)
        Block.objects.create(blocker=enabled_blocked, blocked=stage.launch.alice)
        cast.grant(stage.launch.feature, enabled_blocked)
        Subscriber.objects.filter(id=opted_out.id).update(accepts_invites=False)
        named = {"blocked": blocked, "opted_out": opted_out, "enabled_blocked": enabled_blocked, "no_device": no_device}
        named["ineligible"] = old
        for name, person in named.items():
            causes[name] = builders.settings.KEYS.unseal_phone(bytes(person.phone_sealed))
        return causes

    numbers = await rows(prepare_causes)
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        bodies, times = {}, {}
        for cause, number in numbers.items():
            started = asyncio.get_running_loop().time()
            refused = await alice.refused("prepare", id="same", callee={"phone": number})
            times[cause] = asyncio.get_running_loop().time() - started
            assert refused["code"] == "cannot_be_called_now"
            bodies[cause] = alice.raw["same"]
            edge.answers._said.clear()

        assert len(set(bodies.values())) == 1, bodies
        assert min(times.values()) >= 0.06
        problem = refused
        assert (problem["window"], problem["invite"], problem["retry_at"]) == ({"state": "open"}, "ok", None)
        await until(lambda: not edge.arbiter._tasks)
        recorded = await rows(lambda: sorted(row.detail["cause"] for row in Refusal.objects.all()))
        assert recorded == ["blocked", "blocked", "no_device", "no_invites", "unknown", "update_required"]


async def test_caller__who_may_not_invite_deeper__learns_it_alike_for_everybody(stage: Stage) -> None:
    def only_depth_zero() -> None:
        Window.objects.update(depth_limit=0)

    await rows(only_depth_zero)
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        known = await alice.refused("prepare", callee={"phone": stage.number("bob")})
        unknown = await alice.refused("prepare", callee={"phone": "+4930901899999"})

        assert known == unknown
        assert known["invite"] == "depth"


async def test_caller__who_asked_for_many_numbers_today__must_wait(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("calls.edge.placing.PREPARE_DAY", replace(PREPARE_DAY, burst=2))
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        codes = [(await alice.refused("prepare", callee={"phone": f"+493090189999{n}"}))["code"] for n in range(2)]
        refused = await alice.refused("prepare", callee={"phone": stage.number("bob")})

    assert codes == ["cannot_be_called_now"] * 2
    assert (refused["code"], PREPARE_DAY.words in refused["detail"]) == ("rate_limited", True)
    assert refused["retry_after"] > 60


async def test_caller__who_is_not_enabled__is_told_why(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "bob") as (bob,):
        refused = await bob.refused("prepare", callee={"phone": stage.number("alice")})

        assert (refused["code"], refused["status"], refused["cause"]) == ("not_enabled", 403, "waiting_for_launch")
        assert refused["words"].endswith(".")


async def test_caller__whose_token_is_older_than_the_grant__may_call(stage: Stage) -> None:
    await rows(lambda: cast.grant(stage.launch.feature, stage.launch.bob))
    async with running_edge(stage) as edge, phones(stage, edge, "alice", "bob") as (alice, bob):
        call = await bob.place(stage.number("alice"))

        assert (await alice.event("ring"))["call"] == call


async def no_place_is_held(stage: Stage) -> bool:
    for _ in range(100):
        held = await rows(lambda: Reservation.objects.filter(state="pending").count())
        places = await rows(lambda: Window.objects.get(id=stage.launch.window.id).pending)
        if held == places == 0:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_phone_that_is_away__gets_the_call_when_it_comes_back_in_time(stage: Stage) -> None:
    from aiohttp import ClientSession

    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,), ClientSession() as session:
        call = await alice.place(stage.number("bob"))
        bob = await phone(stage, edge, "bob", session).connect()

        ring = await bob.event("ring")

        assert ring["call"] == call
        assert ring["age_ms"] >= 0
