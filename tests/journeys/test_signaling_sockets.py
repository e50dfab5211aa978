"""What a socket takes and what it refuses: hello, origins, frames, repetition, impostors, resuming, replacing."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from calls.edge import limits, watch
from tests.journeys.signaling import (
    BLOB,
    Phone,
    Stage,
    connected_call,
    phone,
    phones,
    rows,
    running_edge,
    until,
)
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)
LIST = {"list": "bGlzdA", "signature": "c2ln"}


@pytest.fixture
def enabled(stage: Stage) -> Stage:
    """bob has calling too, so that calls are plain."""
    cast.grant(stage.launch.feature, stage.launch.bob)
    return stage


async def first_words(edge: Any, *frames: str | bytes) -> tuple[dict[str, Any] | None, int | None]:
    """What a socket answers to these frames, and with which code it closes."""
    async with ClientSession() as session:
        socket = await session.ws_connect(f"http://127.0.0.1:{edge.env.port}/v1/signal")
        for frame in frames:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        said = None
        async for message in socket:
            if message.type is WSMsgType.TEXT and json.loads(message.data)["k"] == "bye":
                said = json.loads(message.data)["problem"]
        return said, socket.close_code


async def test_hello__that_can_t_be_taken__is_answered_in_words_and_closed(stage: Stage) -> None:
    device = str(stage.devices["alice"].id)
    good = {"k": "hello", "v": 1, "token": stage.tokens["alice"], "device": device}
    cases: list[tuple[str | bytes, str, int]] = [
        (json.dumps({**good, "token": "not.a.token"}), "not_authenticated", 4401),
        (json.dumps({**good, "token": stage.tokens["alice"][:-8] + "AAAAAAAA"}), "not_authenticated", 4401),
        (json.dumps({**good, "device": str(stage.devices["bob"].id)}), "not_authenticated", 4401),
        (json.dumps({**good, "v": 2}), "bad_input", 4400),
        (json.dumps({**good, "last_seq": -1}), "bad_input", 4400),
        (json.dumps({**good, "device": "../.."}), "bad_input", 4400),
        (json.dumps({"k": "req", "id": "1", "t": "prepare"}), "out_of_order", 4400),
        ("{", "bad_input", 4400),
        ("[]", "bad_input", 4400),
        (b"\x00\x01", "bad_input", 1003),
    ]
    async with running_edge(stage) as edge:
        for frame, code, close in cases:
            said, closed = await first_words(edge, frame)

            assert said is not None, frame
            assert (said["code"], closed) == (code, close), frame
            assert said["detail"].endswith("."), frame


async def test_no_hello__within_its_time__is_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_SECONDS", 0.2)
    async with running_edge(stage) as edge:
        said, closed = await first_words(edge)

    assert said is not None
    assert (said["code"], closed) == ("out_of_order", 4408)


@pytest.mark.parametrize(
    ("frame", "close"),
    [
        ("x" * 70_000, 1009),
        (b"\xff\xfe", 1003),
        (json.dumps({"k": "hello", "v": 1}), 4400),
        (json.dumps({"k": "sing"}), 4400),
        (json.dumps({"k": "req", "t": "prepare"}), 4400),
        (json.dumps({"k": "ack", "seq": "all"}), 4400),
        (json.dumps({"k": "token", "token": "x.y.z"}), 4401),
    ],
)
async def test_frame__that_breaks_the_protocol__closes_the_socket(stage: Stage, frame: str | bytes, close: int) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        assert alice.socket is not None
        await (alice.socket.send_str(frame) if isinstance(frame, str) else alice.socket.send_bytes(frame))

        assert await alice.closed() == close


async def test_bad_utf8__in_a_text_frame__closes_the_socket(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        assert alice.socket is not None
        await alice.socket._writer.send_frame(b"\xff\xfe\xfd", WSMsgType.TEXT)

        assert await alice.closed() == 1007


async def test_pings__are_answered_and_count_like_other_frames(stage: Stage) -> None:
    hello = {"k": "hello", "v": 1, "token": stage.tokens["alice"], "device": str(stage.devices["alice"].id)}
    async with running_edge(stage) as edge, ClientSession() as session:
        url = f"http://127.0.0.1:{edge.env.port}/v1/signal"
        async with session.ws_connect(url, autoping=False) as socket:
            await socket.send_json(hello)
            welcome = await socket.receive_json()
            for _ in range(limits.FRAMES_BURST + 5):
                await socket.ping(b"one")
            seen = [message async for message in socket]

    assert welcome["k"] == "welcome"
    assert {message.data for message in seen[:-1] if message.type is WSMsgType.PONG} == {b"one"}
    assert orjson.loads(seen[-1].data)["problem"]["code"] == "rate_limited"
    assert socket.close_code == 4429


async def test_too_many_frames__close_the_socket_with_a_time_to_try_again(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        assert alice.socket is not None
        for _ in range(limits.FRAMES_BURST + 5):
            await alice.socket.send_json({"k": "ack", "seq": 0})

        assert await alice.closed() == 4429
        assert alice.bye is not None
        assert (alice.bye["code"], alice.bye["retry_after"]) == ("rate_limited", 5)


async def test_origin__of_a_strange_page__is_refused_before_the_socket_opens(stage: Stage) -> None:
    async with running_edge(stage, ALLOWED_ORIGINS="https://phone.example") as edge, ClientSession() as session:
        url = f"http://127.0.0.1:{edge.env.port}/v1/signal"
        with pytest.raises(WSServerHandshakeError) as refused:
            await session.ws_connect(url, headers={"Origin": "https://evil.example"})
        for origin in ("https://phone.example", f"http://127.0.0.1:{edge.env.port}"):
            socket = await session.ws_connect(url, headers={"Origin": origin})
            await socket.close()

    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("op", "body", "path"),
    [
        ("prepare", {}, "/callee"),
        ("prepare", {"callee": {"phone": 7}}, "/callee/phone"),
        ("prepare", {"callee": {"subscriber": "bob"}}, "/callee/subscriber"),
        ("prepare", {"callee": {"phone": "+4930901820", "subscriber": str(uuid.uuid4())}}, "/callee"),
        ("prepare", {"callee": {"phone": "+4930901820"}, "media": "smell"}, "/media"),
        ("invite", {"call": str(uuid.uuid4()), "ticket": "t", "blobs": {}, **LIST}, "/blobs"),
        ("invite", {"call": str(uuid.uuid4()), "ticket": "t", "blobs": {"x": BLOB}, **LIST}, "/blobs/x"),
        ("relay", {"call": str(uuid.uuid4()), "blob": "A" * 30_000}, "/blob"),
        ("relay", {"call": str(uuid.uuid4()), "blob": "in=valid"}, "/blob"),
        ("end", {"call": str(uuid.uuid4()), "reason": "stopped"}, "/reason"),
        ("decline", {"call": str(uuid.uuid4()), "scope": "world"}, "/scope"),
        ("accept", {"call": "1; DROP TABLE", "blob": BLOB}, "/call"),
        ("fly", {}, "/t"),
    ],
)
async def test_request__with_a_bad_field__names_its_path_and_keeps_the_socket(
    stage: Stage, op: str, body: dict[str, Any], path: str
) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        refused = await alice.refused(op, **body)
        still = await alice.refused("ringing", call=str(uuid.uuid4()))

        assert (refused["code"], refused["status"], refused["path"]) == ("bad_input", 400, path)
        assert still["code"] == "call_unknown"


async def test_number__that_is_none__is_refused_with_its_cause(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        refused = await alice.refused("prepare", callee={"phone": "+49"})

        assert refused["code"] == "phone_invalid"


async def test_ticket__of_another_device_call_or_time__is_refused(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        ready = await alice.ask("prepare", callee={"phone": enabled.number("bob")})
        blobs = dict.fromkeys(ready["callee"]["devices"], BLOB)
        whole = {"call": ready["call"], "ticket": ready["ticket"], "blobs": blobs, **alice.listed}

        stolen = await bob.refused("invite", **whole)
        other_call = await alice.refused("invite", **{**whole, "call": str(uuid.uuid4())})
        forged = await alice.refused("invite", **{**whole, "ticket": ready["ticket"][:-6] + "AAAAAA"})
        stranger = await alice.refused("invite", **{**whole, "blobs": {str(uuid.uuid4()): BLOB}})
        edge.placing.arbiter.clock = lambda: edge.inboxes.clock() + 61_000
        expired = await alice.refused("invite", **whole)
        edge.placing.arbiter.clock = edge.inboxes.clock
        await alice.ask("invite", **whole)
        spent = await alice.refused("invite", **whole)

        codes = [problem["code"] for problem in (stolen, other_call, forged, stranger, expired, spent)]
        assert codes == ["bad_ticket", "bad_ticket", "bad_ticket", "bad_input", "ticket_expired", "ticket_spent"]


async def test_request__sent_again_with_its_id__gets_the_same_answer_and_acts_once(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        first = await alice.ask("prepare", id="p", callee={"phone": enabled.number("bob")})
        again = await alice.ask("prepare", id="p", callee={"phone": enabled.number("bob")})
        invited = [await alice.invite(first, id="i"), await alice.invite(first, id="i")]
        call = first["call"]
        await bob.event("ring")
        accepted = [await bob.ask("accept", id="a", call=call, blob=BLOB) for _ in range(2)]
        accepted.append(await bob.ask("accept", id="b", call=call, blob=BLOB))
        for _ in range(3):
            await alice.ask("relay", id="r", call=call, blob=BLOB)
        edge.answers._said.clear()  # as if another edge were asked
        await alice.ask("relay", id="r", call=call, blob=BLOB)
        invited.append(await alice.invite(first, id="i"))
        await alice.ask("relay", id="last", call=call, blob=BLOB)
        await until(lambda: len([each for each in bob.seen if each["t"] == "relay"]) >= 2)

        assert first == again
        assert invited == [{"state": "routing"}] * 3
        assert accepted == [{"state": "accepted"}] * 3
        assert len([each for each in bob.seen if each["t"] == "relay"]) == 2
        assert len([each for each in bob.seen if each["t"] == "ring"]) == 1
        assert len([each for each in alice.seen if each["t"] == "accepted"]) == 1


async def test_id__that_another_request_had__doesn_t_get_that_one_s_answer(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        ready = [await alice.ask("prepare", id="1", callee={"phone": enabled.number(who)}) for who in ("bob", "carol")]
        for prepared in ready:
            await alice.invite(prepared, id="2")

        assert ready[0]["callee"] != ready[1]["callee"]
        for prepared in ready:
            assert (await edge.store.load(prepared["call"])) is not None
        assert (await bob.event("ring"))["call"] == ready[0]["call"]


async def test_stranger__to_a_call__learns_nothing_and_changes_nothing(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob", "carol") as (alice, bob, carol):
        call = await connected_call(alice, bob, enabled.number("bob"))

        for op, body in [
            ("ringing", {}), ("accept", {"blob": BLOB}), ("decline", {}), ("busy", {}), ("cancel", {}),
            ("end", {"reason": "hangup"}), ("relay", {"blob": BLOB}), ("connected", {}), ("alive", {}),
        ]:  # fmt: skip
            refused = await carol.refused(op, call=call, **body)
            unknown = await carol.refused(op, call=str(uuid.uuid4()), **body)
            assert refused == unknown
            assert refused["code"] == "call_unknown"

        assert await alice.ask("alive", call=call) == {"state": "connected"}
        assert carol.seen == []


async def test_request__out_of_state__says_in_which_state_the_call_is(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        call = await alice.place(enabled.number("bob"))
        await bob.event("ring")

        early = await alice.refused("relay", call=call, blob=BLOB)
        own = await alice.refused("accept", call=call, blob=BLOB)
        wrong = await bob.refused("cancel", call=call)

        assert (early["code"], early["state"]) == ("out_of_state", "routing")
        assert own["code"] == wrong["code"] == "out_of_state"


async def test_new_socket__of_a_device__replaces_the_old_one(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (old,), ClientSession() as session:
        new = await phone(stage, edge, "alice", session).connect()

        assert await old.closed() == 4409
        assert old.bye is not None
        assert old.bye["code"] == "socket_replaced"
        assert (await new.refused("ringing", call=str(uuid.uuid4())))["code"] == "call_unknown"


async def test_open_socket__whose_place_ran_out__rings_all_the_same(
    enabled: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PLACES_SECONDS", 0.1)
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        await edge.store.redis.delete(f"rc:where:{bob.device}")

        call = await alice.place(enabled.number("bob"))

        assert (await bob.event("ring", 2))["call"] == call
        held = await edge.store.redis.get(f"rc:where:{bob.device}")
        assert held.decode() == f"{edge.store.edge}|{bob.welcome['session']}"


async def test_socket__whose_place_another_edge_has__is_closed_though_the_doorbell_was_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PLACES_SECONDS", 0.1)
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        await edge.store.redis.set(f"rc:where:{alice.device}", "edge-elsewhere|newer")

        assert await alice.closed(2) == 4409
        assert await edge.store.redis.get(f"rc:where:{alice.device}") == b"edge-elsewhere|newer"


async def test_two_sockets_of_a_device__whose_places_crossed__leave_the_newer_one_its_place(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (old,), ClientSession() as session:
        older = edge.inboxes.sessions[old.device]
        new = await phone(stage, edge, "alice", session).connect()
        await edge.store.redis.set(f"rc:where:{new.device}", f"{edge.store.edge}|{older.name}")

        await old.closed()
        await asyncio.sleep(0.1)

        assert await edge.store.redis.get(f"rc:where:{new.device}") is not None


async def test_events__while_a_phone_is_away__come_once_after_it_resumes(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        call = await connected_call(alice, bob, enabled.number("bob"))
        seen, welcome = bob.seen[-1]["seq"], bob.welcome
        await bob.vanish()
        for n in range(3):
            await alice.ask("relay", call=call, blob=BLOB, id=f"r{n}")

        async with ClientSession() as session:
            back = await phone(enabled, edge, "bob", session).connect(
                last_seq=seen, epoch=welcome["epoch"], resume=welcome["session"]
            )
            await until(lambda: len(back.seen) >= 3)

            assert back.welcome["resumed"] is True
            assert [event["t"] for event in back.seen] == ["relay"] * 3
            assert [event["seq"] for event in back.seen] == [seen + 1, seen + 2, seen + 3]
            assert (await back.ask("alive", call=call))["state"] == "connected"


async def test_late_phone__finds_a_missed_call_and_doesn_t_ring(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice") as (alice,), ClientSession() as session:
        call = await alice.place(enabled.number("bob"))
        await alice.ask("cancel", call=call)

        bob = await phone(enabled, edge, "bob", session).connect()
        missed = await bob.event("missed")

        assert (missed["call"], missed["media"]) == (call, "audio")
        assert missed["from"]["phone"] == enabled.number("alice")
        assert "ring" not in [event["t"] for event in bob.seen]


async def test_acked_events__leave_the_inbox(enabled: Stage) -> None:
    async with running_edge(enabled) as edge, phones(enabled, edge, "alice", "bob") as (alice, bob):
        await connected_call(alice, bob, enabled.number("bob"))
        await bob.vanish()
        await until(lambda: bob.device not in edge.inboxes.sessions)
        await asyncio.sleep(0.2)

        assert await edge.store.fetch(bob.device, 0) == ()


async def test_phone_that_doesn_t_read__is_cut_off(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        session = edge.inboxes.sessions[alice.device]

        for _ in range(40):
            session.send(b"x" * 8_000)

        assert session.closing
        await until(lambda: alice.device not in edge.inboxes.sessions)


async def test_fifth_device__of_one_person__must_wait(stage: Stage) -> None:
    from tests import builders
    from tests.journeys.signaling import token_of

    def four_more() -> list[tuple[str, str]]:
        made = [builders.device(stage.launch.alice) for _ in range(4)]
        return [(str(device.id), token_of(device)) for device in made]

    extra = await rows(four_more)
    async with running_edge(stage) as edge, phones(stage, edge, "alice"), ClientSession() as session:
        url = f"http://127.0.0.1:{edge.env.port}"
        answers = [(await Phone(url, token, device, session).connect()).welcome for device, token in extra]

    assert [answer["k"] for answer in answers] == ["welcome"] * 3 + ["bye"]
    assert answers[3]["problem"]["code"] == "rate_limited"


async def test_revoked_device__loses_its_socket_and_can_t_come_back(stage: Stage) -> None:
    from controlplane.outbox.models import Outbox

    def revoke() -> None:
        device = stage.devices["alice"]
        payload = {"subscriber": str(device.subscriber_id), "device": str(device.id)}
        Outbox.objects.create(key=f"device.revoked:{device.id}", kind="device.revoked", payload=payload)

    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,), ClientSession() as session:
        await rows(revoke)

        assert await alice.closed() == 4401
        again = await phone(stage, edge, "alice", session).connect()
        assert again.welcome["problem"]["code"] == "not_authenticated"


async def test_renewed_token__of_another_person__closes_the_socket(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        assert alice.socket is not None
        await alice.socket.send_json({"k": "token", "token": stage.tokens["alice"]})
        assert (await alice.refused("ringing", call=str(uuid.uuid4())))["code"] == "call_unknown"
        await alice.socket.send_json({"k": "token", "token": stage.tokens["bob"]})

        assert await alice.closed() == 4401


async def test_edge__that_stops__tells_its_phones_to_come_back(stage: Stage) -> None:
    async with ClientSession() as session:
        async with running_edge(stage) as edge:
            alice = await phone(stage, edge, "alice", session).connect()

        assert await alice.closed() == 1012
        assert alice.bye is not None
        assert alice.bye["code"] == "try_again"


async def test_fragments__without_end__are_cut_off_at_the_frame_s_limit(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,):
        assert alice.socket is not None
        transport = alice.socket._writer.transport
        mask = b"\x00\x00\x00\x00"
        piece = bytes([0x80 | 126]) + (1000).to_bytes(2, "big") + mask + b"x" * 1000
        transport.write(b"\x01" + piece)  # text, not final
        for _ in range(65):
            transport.write(b"\x00" + piece)  # continuation, never final
            await asyncio.sleep(0)

        assert await alice.closed() == 1009
