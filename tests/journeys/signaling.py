"""A real edge on loopback, and phones that speak its protocol without media: what the signaling journeys stand on."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import unused_port
from django.conf import settings
from django.db import connections
from django.utils import timezone
from nacl.signing import SigningKey

from calls.edge.app import runner_of
from calls.edge.edge import Edge
from calls.rules import devices
from calls.rules.blob import b64
from calls.rules.devices import DeviceKeys
from calls.rules.messages import REQUESTS
from controlplane.accounts.actions.tokens import mint
from controlplane.accounts.models import Device, DeviceList, Subscriber
from controlplane.api.claims import rollout_claims
from controlplane.base import env
from rollout.actions import rulesets
from tests import builders
from tests.rollout import cast

T = TypeVar("T")
ALWAYS = ("bad_input", "rate_limited", "try_again")  # said of any request
BLOB = b64(b"sealed" * 40)
ACCOUNT = b"k" * 32  # every account's key: whose it is matters to phones only


@dataclass
class Stage:
    """The cast of a launch with a phone each; the ruleset is published."""

    launch: cast.Launch
    devices: dict[str, Device]
    tokens: dict[str, str]
    environment: dict[str, str]
    folder: Path

    def number(self, name: str) -> str:
        return settings.KEYS.unseal_phone(bytes(getattr(self.launch, name).phone_sealed))


def add_phone(person: Subscriber, **fields: Any) -> Device:
    device = builders.device(person, **fields)
    body, signature = _first_list(device)
    key = bytes(SigningKey(ACCOUNT).verify_key)
    DeviceList.objects.create(subscriber=person, epoch=1, body=body, signature=signature, account_key=key)
    return device


def _first_list(device: Device) -> tuple[bytes, bytes]:
    own = DeviceKeys(str(device.id), bytes(device.ed25519), bytes(device.x25519))
    key = bytes(SigningKey(ACCOUNT).verify_key)
    body = devices.DeviceList(str(device.subscriber_id), key, 1, b"", (own,)).as_bytes()
    return body, devices.sign(body, ACCOUNT)


def own_list(device: Device) -> dict[str, str]:
    """The list of a phone that `add_phone` made, as `invite` sends it."""
    body, signature = _first_list(device)
    return {"list": b64(body), "signature": b64(signature)}


def token_of(device: Device, *, grant: Any = None) -> str:
    g = (
        {}
        if grant is None
        else {cast.CALLS: {"id": grant.id, "src": grant.source, "depth": 0, "at": 1, "root": grant.id}}
    )
    return mint(device, claims={**rollout_claims(device), "g": g}, now=timezone.now())


def build_stage(environment: Mapping[str, str], folder: Path, **of_window: Any) -> Stage:
    launch = cast.launch(**of_window)
    people = {name: getattr(launch, name) for name in ("alice", "bob", "carol", "dave")}
    made = {name: add_phone(person) for name, person in people.items()}
    tokens = {name: token_of(device, grant=launch.root if name == "alice" else None) for name, device in made.items()}
    rulesets.publish(cast.OPERATOR, timezone.now())
    return Stage(launch, made, tokens, dict(environment), folder)


async def rows(work: Callable[[], T]) -> T:
    """Django's rows from an async test: in a thread, whose connections are closed again."""

    def run() -> T:
        try:
            return work()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)


@asynccontextmanager
async def running_edge(stage: Stage, **knobs: str) -> AsyncIterator[Edge]:
    port = unused_port()
    values = {
        **stage.environment, "PORT": str(port), "CONSOLE_PORT": str(unused_port()), "POLL_SECONDS": "0.1",
        "EDGE_REPORT_SECONDS": "0.2", "ROLLCALL_SECRET": settings.ENV.secret.hex(),
        "ROLLCALL_DATA": str(stage.folder / secrets.token_hex(4)), **knobs,
    }  # fmt: skip
    edge = Edge(env.load(values))
    runner = runner_of(edge, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        await until(lambda: edge.rulesets.current.version > 0)
        yield edge
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
    """Wait for a condition that another task brings about."""
    for _ in range(round(seconds / 0.01)):
        if value := condition():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")


class Problem(Exception):
    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["code"])
        self.body = body
        self.code = body["code"]


@dataclass
class Phone:
    """One phone on a socket. `raw` holds the answers exactly as they came."""

    url: str
    token: str
    device: str
    session: ClientSession
    listed: dict[str, str] = field(default_factory=dict)
    socket: ClientWebSocketResponse | None = None
    welcome: dict[str, Any] = field(default_factory=dict)
    bye: dict[str, Any] | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    acks: bool = True

    def __post_init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None

    async def connect(self, **hello: Any) -> Phone:
        self.socket = await self.session.ws_connect(f"{self.url}/v1/signal", max_msg_size=0)
        frame = {"k": "hello", "v": 1, "token": self.token, "device": self.device, "last_seq": 0, "epoch": "", **hello}
        await self.socket.send_json(frame)
        message = await self.socket.receive()
        assert message.type is WSMsgType.TEXT, message
        self.welcome = json.loads(message.data)
        if self.welcome["k"] == "welcome":
            self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        assert self.socket is not None
        async for message in self.socket:
            frame = json.loads(message.data)
            if frame["k"] == "res":
                self.raw[frame["id"]] = message.data.encode()
                waiting = self._waiting.pop(frame["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
            elif frame["k"] == "ev":
                self.seen.append(frame)
                self._events.put_nowait(frame)
                if self.acks:
                    await self.socket.send_json({"k": "ack", "seq": frame["seq"]})
            elif frame["k"] == "bye":
                self.bye = frame["problem"]
                for waiting in self._waiting.values():
                    if not waiting.done():
                        waiting.set_exception(Problem(frame["problem"]))

    async def ask(self, t: str, *, id: str | None = None, **body: Any) -> dict[str, Any]:
        assert self.socket is not None
        id = id or str(uuid.uuid4())
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[id] = waiting
        await self.socket.send_json({"k": "req", "id": id, "t": t, **body})
        async with asyncio.timeout(8):
            frame = await waiting
        if "problem" in frame:
            raise Problem(frame["problem"])
        return frame["ok"]

    async def refused(self, t: str, **body: Any) -> dict[str, Any]:
        """The problem that this request is refused with, which the protocol's page must name."""
        try:
            answer = await self.ask(t, **body)
        except Problem as problem:
            told = problem.body
        else:
            raise AssertionError(f"{t} was not refused: {answer}")
        assert t not in REQUESTS or told["code"] in (*REQUESTS[t].refusals, *ALWAYS), told
        return told

    async def event(self, t: str, seconds: float = 5) -> dict[str, Any]:
        """The next event of this type; others that come before it are passed over."""
        async with asyncio.timeout(seconds):
            while True:
                frame = await self._events.get()
                if frame["t"] == t:
                    return frame

    async def place(self, number: str) -> str:
        """prepare and invite; the call's id."""
        ready = await self.ask("prepare", callee={"phone": number})
        await self.invite(ready)
        return str(ready["call"])

    async def invite(self, ready: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        blobs = dict.fromkeys(ready["callee"]["devices"], BLOB)
        body = {"call": ready["call"], "ticket": ready["ticket"], "blobs": blobs, **self.listed}
        return await self.ask("invite", **body, **more)

    async def closed(self, seconds: float = 5) -> int | None:
        """The close code of the socket."""
        assert self._reader is not None
        await asyncio.wait({self._reader}, timeout=seconds)
        assert self.socket is not None
        return self.socket.close_code

    async def vanish(self) -> None:
        """Cut the connection without a word."""
        assert self.socket is not None
        if self._reader is not None:
            self._reader.cancel()
        transport = self.socket.get_extra_info("socket")
        del transport
        await self.socket.close()


@asynccontextmanager
async def phones(stage: Stage, edge: Edge, *names: str) -> AsyncIterator[list[Phone]]:
    """These people's phones, connected."""
    async with ClientSession() as session:
        made = [phone(stage, edge, name, session) for name in names]
        for each in made:
            await each.connect()
            assert each.welcome["k"] == "welcome", each.welcome
        yield made


def phone(stage: Stage, edge: Edge, name: str, session: ClientSession) -> Phone:
    device = stage.devices[name]
    url = f"http://127.0.0.1:{edge.env.port}"
    return Phone(url, stage.tokens[name], str(device.id), session, own_list(device))


async def connected_call(caller: Phone, callee: Phone, number: str) -> str:
    """A call that both ends say is up."""
    call = await caller.place(number)
    ring = await callee.event("ring")
    assert ring["call"] == call
    await callee.ask("ringing", call=call)
    await callee.ask("accept", call=call, blob=BLOB)
    await caller.event("accepted")
    await caller.ask("connected", call=call)
    await callee.ask("connected", call=call)
    await caller.event("connected")
    await callee.event("connected")
    return call
