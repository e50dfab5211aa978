"""Event streams over HTTP: who is told of which change, who may listen, and how listeners come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from controlplane.base import logs
from controlplane.base.refusal import NotAuthenticated
from rollout.rules.limits import STREAMS_PER_PERSON
from rollout.serving import ofrep, streams
from rollout.serving.clients import Clients
from rollout.serving.feed import FeedRow
from rollout.serving.stream_pass import PERIOD, Seal, StreamPass, good_until
from rollout.serving.streams import Streams
from tests.journeys.fake_server import ALICE, BACK, BOB, BULK, NOW, FakeServer, document, feature, phone, signed


@dataclass
class Stage:
    server: FakeServer
    http: TestClient[Any, Any]
    streams: Streams

    async def address(self, headers: dict[str, str] | None = None, **context: Any) -> str:
        """Path and query of the event stream that a bulk evaluation names."""
        response = await self.http.post(BULK, headers=headers or phone("bob"), json={"context": context})
        url = (await response.json())["eventStreams"][0]["url"]
        assert url.startswith(self.server.public_url)
        return url.removeprefix(self.server.public_url)

    async def listen(self, address: str | None = None, **headers: str) -> Listener:
        response = await self.http.get(address or await self.address(), headers=headers)
        listener = Listener(response)
        if response.status == 200:
            listener.greeting = await listener.block()
        return listener

    def grant(self, id: int, subscriber: str = BOB, kind: str = "grant.created") -> None:
        payload = {"subscriber": subscriber, "feature": "voice-calls", "grant": id, "source": "invite"}
        self.server.happen(FeedRow(id, kind, payload, self.server.clock.timestamp()))


@dataclass
class Listener:
    response: ClientResponse
    greeting: dict[str, str] = field(default_factory=dict)

    async def block(self) -> dict[str, str]:
        """The next block's fields; a comment stands under the empty name. Raises EOFError at the end."""
        text = await asyncio.wait_for(self.response.content.readuntil(b"\n\n"), 3)
        if not text:
            raise EOFError
        pairs = (line.partition(":") for line in text.decode().strip().split("\n"))
        return {name: value.strip() for name, _, value in pairs}

    async def event(self) -> dict[str, Any]:
        return orjson.loads((await self.block())["data"])

    async def hears_nothing(self) -> bool:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.response.content.readany(), 0.15)
        return True

    async def ends(self) -> bool:
        return (await self.rest()).replace(b": still here\n\n", b"") == b""

    async def rest(self) -> bytes:
        """All that comes until the stream ends, which it does."""
        return await asyncio.wait_for(self.response.content.read(), 3)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    server = FakeServer()
    listening = Streams(server)
    app = web.Application()
    app.add_routes(ofrep.routes(server, Clients(server), listening))
    app.on_shutdown.append(listening.close)
    async with TestClient(TestServer(app)) as client:
        yield Stage(server, client, listening)


async def test_bulk__answer__names_an_event_stream_that_holds_no_access_token(stage: Stage) -> None:
    response = await stage.http.post(BULK, headers=phone("bob"))
    told = (await response.json())["eventStreams"]

    assert [set(each) for each in told] == [{"type", "url", "inactivityDelaySec"}]
    assert (told[0]["type"], told[0]["inactivityDelaySec"]) == ("sse", 120)
    token = urlsplit(told[0]["url"]).query.removeprefix("token=")
    assert BOB not in told[0]["url"]
    for scheme in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
        assert (await stage.http.post(BULK, headers=scheme)).status == 401


async def test_bulk__address__stays_for_a_while_and_differs_by_person(stage: Stage) -> None:
    first, again, other = await stage.address(), await stage.address(), await stage.address(phone("alice"))
    stage.server.tokens["bob"] = replace(stage.server.tokens["bob"], expires_at=int(NOW.timestamp()) + 1800)
    later = await stage.address()

    assert first == again
    assert len({first, other, later}) == 3


async def test_stream__begins__with_how_to_come_back_and_no_event(stage: Stage) -> None:
    listener = await stage.listen(Origin="https://app.example")

    assert listener.response.content_type == "text/event-stream"
    assert listener.response.headers["Cache-Control"] == "no-store"
    assert listener.response.headers["Access-Control-Allow-Origin"] == "*"
    assert 2000 <= int(listener.greeting["retry"]) <= 5000
    assert listener.greeting["id"] == "1.0"
    assert "data" not in listener.greeting
    assert await listener.hears_nothing()


async def test_stream__new_ruleset__tells_everybody_to_evaluate_again(stage: Stage) -> None:
    listeners = [await stage.listen(), await stage.listen(await stage.address(BACK, targetingKey="user-1"))]

    stage.server.rulesets.swap(document(2))

    for listener in listeners:
        block = await listener.block()
        assert block["id"] == "2.0"
        assert "event" not in block
        assert orjson.loads(block["data"]) == {"type": "refetchEvaluation", "etag": "2.0", "lastModified": 0}


@pytest.mark.parametrize("kind", ["grant.created", "grant.revoked", "grant.frozen", "grant.thawed"])
async def test_stream__grant_changes__tells_its_holder_and_nobody_else(stage: Stage, kind: str) -> None:
    bob, backend = await stage.listen(), await stage.listen(await stage.address(BACK, targetingKey=BOB.upper()))
    alice = await stage.listen(await stage.address(phone("alice")))

    stage.grant(7, kind=kind)

    assert (await bob.event())["etag"] == "1.7"
    told = await backend.event()
    assert told == {"type": "refetchEvaluation", "etag": "1.7", "lastModified": int(NOW.timestamp())}
    assert await alice.hears_nothing()


async def test_stream__event__comes_after_the_change_counts(stage: Stage) -> None:
    listener = await stage.listen()

    async def value() -> Any:
        response = await stage.http.post(f"{BULK}/voice-calls", headers=phone("bob"))
        return (await response.json())["value"]

    before = await value()
    stage.grant(7)
    await listener.event()

    assert (before, await value()) == (False, True)


async def test_stream__many_changes_at_once__are_one_event(stage: Stage) -> None:
    listener = await stage.listen()

    for version in range(2, 12):
        stage.server.rulesets.swap(document(version))

    assert (await listener.event())["etag"] == "11.0"
    assert await listener.hears_nothing()


async def test_stream__coming_back__hears_of_what_was_missed_and_only_then(stage: Stage) -> None:
    same = await stage.listen(**{"Last-Event-ID": "1.0"})
    other = await stage.listen(**{"Last-Event-ID": "0.9"})

    assert await same.hears_nothing()
    assert (await other.event())["type"] == "refetchEvaluation"


async def test_stream__change_between_evaluation_and_connecting__is_told_at_once(stage: Stage) -> None:
    address = await stage.address()
    stage.server.rulesets.swap(document(2))

    after_ruleset = await stage.listen(address)
    event = await after_ruleset.event()

    assert event["etag"] == "2.0"


async def test_stream__grant_between_evaluation_and_connecting__is_told_at_once(stage: Stage) -> None:
    addresses = [await stage.address(), await stage.address(phone("alice"))]
    stage.grant(7)
    stage.server.clock += timedelta(seconds=30)

    bob, alice = [await stage.listen(address) for address in addresses]

    assert (await bob.event())["etag"] == "1.7"
    assert await alice.hears_nothing()


async def test_stream__silence__is_filled_with_comments(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT", 0.05)
    listener = await stage.listen()

    assert await listener.block() == {"": "still here"}


@pytest.mark.parametrize("token", ["", "x", "a" * 3000, "%00", "é"])
async def test_stream__odd_token__is_refused(stage: Stage, token: str) -> None:
    response = await stage.http.get(
        "/ofrep/v1/events", params={"token": token}, headers={"Origin": "https://a.example"}
    )

    assert response.status == 401
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert (await response.json())["code"] == "not_authenticated"


async def test_stream__access_token_in_the_address__is_refused(stage: Stage) -> None:
    assert (await stage.http.get("/ofrep/v1/events?token=bob", headers=phone("bob"))).status == 401


async def test_stream__old_address_of_a_backend__is_refused_but_an_open_stream_goes_on(stage: Stage) -> None:
    address = await stage.address(BACK, targetingKey=BOB)
    listener = await stage.listen(address)
    stage.server.clock += timedelta(seconds=PERIOD - 1)
    within = await stage.listen(address)
    stage.server.clock += timedelta(seconds=PERIOD + 1)
    late = await stage.listen(address)
    stage.grant(7)

    assert (within.response.status, late.response.status) == (200, 401)
    assert (await listener.event())["etag"] == "1.7"


async def test_stream__of_a_phone__ends_with_its_access_token_and_the_grace(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT", 0.02)
    address = await stage.address()
    listener = await stage.listen(address)
    stage.server.past_expiry = 3600  # tokens can't be refreshed now
    stage.server.clock += timedelta(seconds=901)

    within = await stage.listen(address)
    assert within.response.status == 200
    stage.grant(7)
    stage.server.past_expiry = 0

    assert b'"etag":"1.7"' in await listener.rest()
    assert await within.rest()
    assert (await stage.http.get(address)).status == 401


async def test_stream__device_signed_out__ends_and_cannot_be_opened_again(stage: Stage) -> None:
    address = await stage.address()
    bob, alice = await stage.listen(address), await stage.listen(await stage.address(phone("alice")))
    payload = {"subscriber": BOB, "device": "d2"}

    stage.server.happen(FeedRow(1, "device.revoked", payload, NOW.timestamp()))

    assert await bob.ends()
    assert (await stage.http.get(address)).status == 401
    assert await alice.hears_nothing()


async def test_stream__api_key_revoked__ends_and_cannot_be_opened_again(stage: Stage) -> None:
    address = await stage.address(BACK)
    backend, bob = await stage.listen(address), await stage.listen()

    stage.server.rulesets.swap(signed(2, [feature("ratio")], api_keys={}))

    assert await backend.ends()
    assert (await stage.http.get(address)).status == 401
    assert (await bob.event())["etag"] == "2.0"


async def test_stream__too_many_of_one_person__is_told_when_to_come_back(stage: Stage) -> None:
    address = await stage.address()
    listeners = [await stage.listen(address) for _ in range(STREAMS_PER_PERSON)]
    refused = await stage.http.get(address)
    other = await stage.listen(await stage.address(phone("alice")))
    listeners[0].response.close()
    for _ in range(100):
        again = await stage.http.get(address)
        if again.status == 200:
            break
        await asyncio.sleep(0.02)

    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert (await refused.json())["code"] == "rate_limited"
    assert other.response.status == 200
    assert again.status == 200


async def test_stream__too_many_in_all__is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAMS_PER_EDGE", 1)
    await stage.listen()

    refused = await stage.http.get(await stage.address(phone("alice")))

    assert refused.status == 429
    assert "Retry-After" in refused.headers


async def test_stream__reader_that_does_not_read__is_cut_off_and_others_are_served(stage: Stage) -> None:
    address = await stage.address()
    reader = await stage.listen(await stage.address(phone("alice")))
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", stage.http.port))
        await loop.sock_sendall(slow, f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        while len(stage.streams) < 2:
            await asyncio.sleep(0.01)

        for version in range(2, 4000):
            if len(stage.streams) < 2:
                break
            stage.grant(version)
            await asyncio.sleep(0)

        assert len(stage.streams) == 1
    stage.grant(9000, ALICE)
    assert (await reader.event())["etag"] == "1.9000"


async def test_stream__process_stops__ends_every_stream(stage: Stage) -> None:
    listener = await stage.listen()

    await stage.streams.close()

    assert await listener.ends()
    assert (await stage.http.get(await stage.address())).status == 429


async def test_bulk__told_of_something_newer__waits_for_it(stage: Stage) -> None:
    asked = asyncio.create_task(stage.http.post(f"{BULK}?flagConfigEtag=2.7", headers=phone("bob")))
    await asyncio.sleep(0.1)
    before = asked.done()
    stage.server.rulesets.swap(document(2))
    await asyncio.sleep(0.1)
    between = asked.done()
    stage.grant(7)
    body = await (await asked).json()

    assert (before, between) == (False, False)
    assert stage.server.nudged == 1
    assert body["metadata"]["ruleset"] == 2
    assert {each["key"]: each["value"] for each in body["flags"]}["voice-calls"] is True


@pytest.mark.parametrize("modified", ["5", "1970-01-01T00:00:05Z", "1970-01-01T00:00:05+00:00"])
async def test_bulk__told_of_something_later__waits_for_it(stage: Stage, modified: str) -> None:
    asked = asyncio.create_task(
        stage.http.post(BULK, params={"flagConfigLastModified": modified}, headers=phone("bob"))
    )
    await asyncio.sleep(0.1)
    before = asked.done()
    stage.server.rulesets.swap(signed(2, [feature("ratio")], published_at=5000))

    assert before is False
    assert (await (await asked).json())["metadata"]["ruleset"] == 2


async def test_bulk__what_it_was_told_of_never_comes__answers_with_what_there_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CATCH_UP", 0.05)

    response = await stage.http.post(f"{BULK}?flagConfigEtag=99.0", headers=phone("bob"))

    assert response.status == 200
    assert (await response.json())["metadata"]["ruleset"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "flagConfigEtag=1.0",
        "flagConfigEtag=0.0",
        "flagConfigEtag=",
        "flagConfigEtag=nonsense",
        "flagConfigEtag=-5.9",
        "flagConfigEtag=%C2%B2.%C2%B2",
        "flagConfigEtag=" + "9" * 60,
        "flagConfigLastModified=0",
        "flagConfigLastModified=yesterday",
        "flagConfigLastModified=9999999999999",
        "flagConfigLastModified=9999-12-31T00:00:00Z",
        "flagConfigLastModified=-5",
        "other=1",
    ],
)
async def test_bulk__told_of_nothing_newer__answers_at_once(stage: Stage, query: str) -> None:
    response = await stage.http.post(f"{BULK}?{query}", headers=phone("bob"))

    assert response.status == 200
    assert stage.server.nudged == 0


def test_pass__is_good__for_one_to_two_periods_whoever_it_is_for() -> None:
    for subscriber in (ALICE, BOB, "user-1", ""):
        lives = [good_until(subscriber, now) - now for now in range(10_000, 10_000 + 2 * PERIOD, 7)]
        assert PERIOD < max(lives) <= 2 * PERIOD
        assert min(lives) > PERIOD - 1


def test_pass__sealed_by_another_deployment_or_changed__is_refused() -> None:
    ours, theirs = Seal(b"a" * 32), Seal(b"b" * 32)
    issued = StreamPass(BOB, "d2", "", 1000)
    written = ours.write(issued)

    assert ours.read(written, 999) == issued
    assert BOB not in repr(written)
    for raw in (theirs.write(issued), written[:-2] + "AA", written[1:], written + "A"):
        with pytest.raises(NotAuthenticated):
            ours.read(raw, 999)
    with pytest.raises(NotAuthenticated):
        ours.read(written, 1000)


def test_log__address_of_a_stream__is_written_without_its_token() -> None:
    told = logs.redact("GET http://x/ofrep/v1/events?a=1&token=c2VjcmV0&b=2 failed")

    assert told == "GET http://x/ofrep/v1/events?a=1&token=…&b=2 failed"
