"""The REST twins for a phone that was just woken, the long poll, and what else the edge serves."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import unused_port
from django.utils import timezone

from calls.edge.edge import Edge
from rollout.actions import rulesets
from tests import builders, published
from tests.journeys.signaling import BLOB, Stage, own_list, phones, rows, running_edge, until
from tests.rollout import cast

pytestmark = pytest.mark.django_db(transaction=True)
UNKNOWN = "01234567-89ab-4def-8123-456789abcdef"


class Woken:
    """A phone without a socket."""

    def __init__(self, session: ClientSession, edge: Edge, token: str) -> None:
        self.session = session
        self.url = f"http://127.0.0.1:{edge.env.port}"
        self.headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, JSON and headers."""
        async with self.session.request(
            method, f"{self.url}{path}", json=body, headers={**self.headers, **headers}
        ) as answer:
            told = await answer.json(content_type=None) if await answer.read() else None
            if answer.ok and path.startswith(("/v1/calls", "/v1/me/features")):
                published.check(method, path, answer.status, told)
            return answer.status, told, answer.headers


@asynccontextmanager
async def woken(stage: Stage, edge: Edge, name: str) -> AsyncIterator[Woken]:
    async with ClientSession() as session:
        yield Woken(session, edge, stage.tokens[name])


async def test_woken_phone__takes_a_call_over_rest(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,), woken(stage, edge, "bob") as bob:
        waiting = asyncio.create_task(bob.ask("GET", "/v1/calls/inbox?after=0&wait=10"))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        call = await alice.place(stage.number("bob"))

        _, inbox, _ = await waiting
        took = time.monotonic() - started
        ring = inbox["events"][0]
        _, state, _ = await bob.ask("POST", f"/v1/calls/{call}/ringing")
        accepted = await bob.ask("POST", f"/v1/calls/{call}/accept", {"blob": BLOB})
        answer = await alice.event("accepted")
        _, seen, _ = await bob.ask("GET", f"/v1/calls/{call}")
        _, turn, _ = await bob.ask("GET", f"/v1/calls/{call}/turn")
        acked, _, _ = await bob.ask("POST", "/v1/calls/inbox/ack", {"seq": ring["seq"]})
        _, rest, _ = await bob.ask("GET", "/v1/calls/inbox?after=0")

        assert (ring["t"], ring["call"]) == ("ring", call)
        assert took < 2
        assert state == {"state": "ringing"}
        assert accepted[:2] == (200, {"state": "accepted"})
        assert answer["blob"] == BLOB
        assert (seen["state"], turn) == ("accepted", {"ice_servers": []})
        assert (acked, [event["t"] for event in rest["events"]]) == (204, ["grant"])


async def test_relay_credentials__of_a_call_that_is_over__are_given_to_nobody(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "alice") as (alice,), woken(stage, edge, "bob") as bob:
        call = await alice.place(stage.number("bob"))
        before = await bob.ask("GET", f"/v1/calls/{call}/turn")
        await alice.ask("cancel", call=call)

        status, problem, _ = await bob.ask("GET", f"/v1/calls/{call}/turn")

    assert before[0] == 200
    assert (status, problem["code"], problem["reason"]) == (409, "call_over", "cancelled")


async def test_call__placed_over_rest__is_as_one_over_a_socket(stage: Stage) -> None:
    async with running_edge(stage) as edge, phones(stage, edge, "bob") as (bob,), woken(stage, edge, "alice") as alice:
        _, ready, _ = await alice.ask("POST", "/v1/calls/prepare", {"callee": {"phone": stage.number("bob")}})
        body = {
            "call": ready["call"], "ticket": ready["ticket"], "blobs": dict.fromkeys(ready["callee"]["devices"], BLOB),
            **own_list(stage.devices["alice"]),
        }  # fmt: skip
        placed = [await alice.ask("POST", "/v1/calls", body, **{"Idempotency-Key": "k1"}) for _ in range(2)]
        again = await alice.ask("POST", "/v1/calls", body)
        ring = await bob.event("ring")
        cancelled = await alice.ask("POST", f"/v1/calls/{ready['call']}/cancel")

        assert [each[:2] for each in placed] == [(201, {"state": "routing"})] * 2
        assert (again[0], again[1]["code"]) == (409, "ticket_spent")
        assert ring["call"] == ready["call"]
        assert cancelled[:2] == (200, {"state": "ended", "reason": "cancelled"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/calls/prepare", {"callee": {}}, 400, "bad_input"),
        ("POST", "/v1/calls", {}, 400, "bad_input"),
        ("POST", "/v1/calls/not-a-call/ringing", None, 400, "bad_input"),
        ("POST", f"/v1/calls/{UNKNOWN}/accept", {"blob": BLOB}, 404, "call_unknown"),
        ("GET", f"/v1/calls/{UNKNOWN}", None, 404, "call_unknown"),
        ("GET", f"/v1/calls/{UNKNOWN}/turn", None, 404, "call_unknown"),
        ("GET", "/v1/calls/inbox?after=-1", None, 400, "bad_input"),
        ("GET", "/v1/calls/inbox?wait=600", None, 400, "bad_input"),
        ("POST", "/v1/calls/inbox/ack", {"seq": "1"}, 400, "bad_input"),
        ("POST", "/v1/calls/prepare", ["no", "object"], 400, "bad_input"),
        ("POST", "/v1/calls/prepare", {"callee": "x" * 80_000}, 413, "too_large"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("DELETE", "/v1/calls", None, 405, "method_not_allowed"),
        ("GET", "/phone/../../manage.py", None, 404, "not_found"),
        ("GET", "/phone/%2e%2e/%2e%2e/manage.py", None, 404, "not_found"),
        ("POST", "/v1/registration", {"phone": "+49"}, 503, "try_again"),
    ],
)
async def test_request__that_can_t_be_served__is_problem_details(
    stage: Stage, method: str, path: str, body: Any, status: int, code: str
) -> None:
    async with running_edge(stage) as edge, woken(stage, edge, "alice") as alice:
        got, problem, headers = await alice.ask(method, path, body)

    assert (got, problem["code"], problem["status"]) == (status, code, status)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert problem["detail"].endswith(".")
    assert ("Retry-After" in headers) == (status == 503)


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        ("GET /phone/%00.js", b"", b"", 404),
        ("GET /phone/" + "a" * 300 + ".js", b"", b"", 404),
        ("POST /v1/calls/prepare", b"Content-Encoding: gzip\r\n", b"no gzip", 415),
        ("POST /v1/registration", b"Content-Encoding: gzip\r\n", gzip.compress(b"{}", mtime=0), 415),
        (f"POST /v1/calls/{UNKNOWN}/ringing", b"Idempotency-Key: \xff\r\n", b"{}", 400),
    ],
)
async def test_request__of_bytes_that_make_no_sense__is_the_sender_s_fault(
    stage: Stage, line: str, headers: bytes, body: bytes, status: int
) -> None:
    head = f"{line} HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\nAuthorization: Bearer {stage.tokens['alice']}\r\n"
    async with running_edge(stage) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.env.port)
        writer.write(head.encode() + headers + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answered = await reader.readline()
        writer.close()

    assert answered.split()[1] == str(status).encode()


async def test_packed_body__is_refused_without_unpacking_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = gzip.compress(b" " * 40_000_000)
    head = f"POST /v1/calls HTTP/1.1\r\nHost: [::1]\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    unpacked: list[bytes] = []
    monkeypatch.setattr("aiohttp.http_parser.DeflateBuffer.feed_data", lambda self, data, *_: unpacked.append(data))
    async with running_edge(stage) as edge:
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.env.port)
        writer.write(head.encode() + bomb)
        answered = await reader.readuntil(b"\r\n\r\n")
        problem = orjson.loads(await reader.read(4096))
        writer.close()

    assert unpacked == []
    assert answered.split()[1] == b"415"
    assert (problem["code"], "Content-Encoding" in problem["detail"]) == ("unsupported_media_type", True)


async def test_bearer__that_is_missing_or_forged__is_not_let_in(stage: Stage) -> None:
    async with running_edge(stage) as edge, ClientSession() as session:
        for token in ("", "x.y.z", stage.tokens["alice"] + "A"):
            stranger = Woken(session, edge, token)
            status, problem, _ = await stranger.ask("GET", "/v1/calls/inbox")
            assert (status, problem["code"]) == (401, "not_authenticated")


async def test_edge__serves_the_phone_health_metrics_and_decisions(stage: Stage) -> None:
    async with running_edge(stage) as edge, woken(stage, edge, "alice") as alice:
        async with alice.session.get(f"{alice.url}/", allow_redirects=False) as first:
            place = first.headers["Location"]
        async with alice.session.get(f"{alice.url}/phone/") as page:
            html, headers = await page.text(), page.headers
        async with alice.session.get(f"{alice.url}/metrics") as metrics:
            shown = await metrics.text()
        ready = await alice.ask("GET", "/readyz")
        healthy = await alice.ask("GET", "/healthz")
        flag = await alice.ask("POST", f"/ofrep/v1/evaluate/flags/{cast.CALLS}", {"context": {}})
        features = await alice.ask("GET", "/v1/me/features")

    assert place == "/phone/"
    assert "<!doctype html>" in html.lower()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Set-Cookie" not in headers
    assert "rollcall_edge_sockets 0.0" in shown
    assert (ready[0], healthy[0]) == (200, 200)
    assert flag[1]["value"] is True
    assert [feature["key"] for feature in features[1]["features"]] == [cast.CALLS]


@asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """The address of a web process that answers every request like this."""
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", handler)])
    runner = web.AppRunner(app)
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_metrics__are_for_this_machine_and_for_keys_that_read(stage: Stage) -> None:
    def keys() -> list[str]:
        made = [builders.api_key(scope)[0] for scope in ("evaluate", "read")]
        rulesets.publish(cast.OPERATOR, timezone.now())
        return made

    evaluate, read = await rows(keys)
    through = {"X-Forwarded-For": "203.0.113.9"}
    async with running_edge(stage, ROLLCALL_DEMONSTRATION="0") as edge, ClientSession() as session:

        async def status(**headers: str) -> int:
            async with session.get(f"http://127.0.0.1:{edge.env.port}/metrics", headers=headers) as answer:
                return answer.status

        statuses = [
            await status(),
            await status(**through),
            await status(**through, **{"X-API-Key": evaluate}),
            await status(**through, Authorization=f"Bearer {read}"),
        ]

    assert statuses == [200, 401, 403, 200]


async def test_demonstration__asked_through_a_proxy_or_by_another_name__refuses(stage: Stage) -> None:
    async with running_edge(stage, ROLLCALL_DEMONSTRATION="1") as edge, ClientSession() as session:

        async def status(**headers: str) -> int:
            async with session.get(f"http://127.0.0.1:{edge.env.port}/healthz", headers=headers) as answer:
                return answer.status

        statuses = [
            await status(),
            await status(Host="localhost"),
            await status(Host="rebound.example:8080"),
            await status(**{"X-Forwarded-For": "127.0.0.1"}),
            await status(**{"X-Forwarded-Host": "calls.example"}),
        ]

    assert statuses == [200, 200, 403, 403, 403]


async def test_forwarded__request_and_answer__pass_without_cookies(stage: Stage) -> None:
    seen: dict[str, Any] = {}

    async def register(request: web.Request) -> web.Response:
        seen.update(cookie=request.headers.get("Cookie"), body=await request.json(), path=str(request.rel_url))
        seen.update(host=request.host, client=request.headers["X-Forwarded-For"])
        seen["mark"] = request.headers["X-Rollcall-Edge"]
        return web.json_response({"challenge": "c"}, status=202, headers={"Set-Cookie": "a=b"})

    knobs = {"ROLLCALL_DEMONSTRATION": "0", "ALLOWED_HOSTS": "console.example", "TRUSTED_PROXIES": "127.0.0.0/8"}
    async with (
        answering(register) as target,
        running_edge(stage, **knobs) as edge,
        woken(stage, edge, "alice") as alice,
    ):
        edge.forward.target = target
        through = {"Cookie": "s=1", "X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        status, body, headers = await alice.ask("POST", "/v1/registration?x=1", {"phone": "+49"}, **through)

    assert (status, body) == (202, {"challenge": "c"})
    assert seen == {
        "cookie": None, "body": {"phone": "+49"}, "path": "/v1/registration?x=1", "host": "console.example",
        "client": "198.51.100.7", "mark": edge.keys.edge_mark("198.51.100.7"),
    }  # fmt: skip
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/registration/../../console/",
        "/v1/me/%2e%2e/%2e%2e/api/overview",
        "/v1/tokens/./../../metrics",
        "/v1/me/%2E./%2e%2e/readyz",
    ],
)
async def test_forwarded__address_that_climbs_out__reaches_nothing_of_the_console(stage: Stage, path: str) -> None:
    seen: list[str] = []

    async def anything(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.json_response({})

    async with answering(anything) as target, running_edge(stage) as edge:
        edge.forward.target = target
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.env.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()

    assert b" 404 " in status
    assert seen == []


async def test_expired_token__is_honoured_while_web_is_silent__not_while_it_refuses(stage: Stage) -> None:
    async def paused(request: web.Request) -> web.Response:
        return web.json_response({"code": "codes_paused"}, status=503, headers={"Retry-After": "60"})

    async with answering(paused) as target, running_edge(stage) as edge, woken(stage, edge, "alice") as alice:
        silent = await alice.ask("POST", "/v1/registration", {"phone": "+49"})
        while_silent = edge.grace()
        edge.forward.target = target
        refused = await alice.ask("POST", "/v1/registration", {"phone": "+49"})
        while_refused = edge.grace()

    assert (silent[0], silent[1]["code"]) == (503, "try_again")
    assert (refused[0], refused[1]["code"]) == (503, "codes_paused")
    assert (while_silent, while_refused) == (edge.env.token_grace_seconds, 0)


async def test_expired_token__while_postgresql_is_away__is_honoured(stage: Stage) -> None:
    async with running_edge(stage) as edge:
        before, right = edge.grace(), edge.database.url
        edge.database.url = "postgresql://127.0.0.1:1/nothing"
        edge.watcher._drop()
        await until(edge.grace)
        edge.database.url = right
        await until(lambda: not edge.grace())

    assert before == 0
