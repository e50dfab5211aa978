"""The REST twins: the same operations for a phone that was just woken, and the inbox by long poll."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from calls.rules.messages import FRAME_BYTES, Ack, OfCall, read
from controlplane.base.refusal import BadInput, TooLarge

from .answers import Answers
from .inbox import Inboxes
from .limits import REQUEST, Limits
from .operations import Asked, Operations, read_request
from .session import event_frame
from .sockets import Sockets
from .tokens import Token, bearer, left

LONGEST_WAIT = 25.0
TWINS = ("ringing", "accept", "decline", "busy", "cancel", "end", "relay", "connected", "alive")
PROBLEM = "application/problem+json"


class Rest:
    def __init__(
        self,
        sockets: Sockets,
        read_token: Callable[[str], Token],
        operations: Operations,
        answers: Answers,
        inboxes: Inboxes,
        limits: Limits,
    ) -> None:
        self.sockets = sockets
        self.read_token = read_token
        self.operations = operations
        self.answers = answers
        self.inboxes = inboxes
        self.limits = limits

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/calls/prepare", self._prepare),
            web.post("/v1/calls", self._invite),
            web.get("/v1/calls/inbox", self._inbox),
            web.post("/v1/calls/inbox/ack", self._ack),
            web.get("/v1/calls/{call}", self._state),
            web.get("/v1/calls/{call}/turn", self._turn),
            web.post(f"/v1/calls/{{call}}/{{op:{'|'.join(TWINS)}}}", self._twin),
        ]

    async def _token(self, request: web.Request) -> Token:
        token = self.read_token(bearer(request.headers.get("Authorization")))
        await self.limits.spend(REQUEST, token.device)
        return token

    async def _prepare(self, request: web.Request) -> web.Response:
        return await self._run(request, "prepare", {}, 200)

    async def _invite(self, request: web.Request) -> web.Response:
        return await self._run(request, "invite", {}, 201)

    async def _twin(self, request: web.Request) -> web.Response:
        return await self._run(request, request.match_info["op"], {"call": request.match_info["call"]}, 200)

    async def _run(self, request: web.Request, op: str, given: Mapping[str, Any], status: int) -> web.Response:
        started = time.monotonic()
        token = await self._token(request)
        fields = read_request(op, {**await read_body(request), **given})
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 128 or not key.isascii():
            raise BadInput("Idempotency-Key must have at most 128 characters of ASCII.", path="Idempotency-Key")
        good, body = await self.answers.answer(Asked(token, op, fields, key, started))
        return web.Response(body=body, status=status, content_type="application/json") if good else as_problem(body)

    async def _state(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        return as_json(await self.operations.state(read(OfCall, request.match_info)["call"], token.device))

    async def _turn(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        return as_json(await self.operations.turn(read(OfCall, request.match_info)["call"], token.device))

    async def _inbox(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        after, wait = _number(request, "after", 2**53), _number(request, "wait", LONGEST_WAIT)
        epoch = self.inboxes.store.known_epoch
        if request.query.get("epoch", epoch) != epoch:
            after = 0
        wait = min(wait, max(0.0, left(token, time.time(), self.sockets.grace())))
        entries = await self.inboxes.wait(token.device, int(after), wait)
        now = self.inboxes.clock()
        events = b",".join(event_frame(entry, entry.seq, now) for entry in entries)
        body = b'{"epoch":%s,"server_time":%d,"events":[%s]}' % (
            orjson.dumps(self.inboxes.store.known_epoch),
            now,
            events,
        )
        return web.Response(body=body, content_type="application/json")

    async def _ack(self, request: web.Request) -> web.Response:
        token = await self._token(request)
        await self.inboxes.store.trim(token.device, read(Ack, await read_body(request))["seq"])
        return web.Response(status=204)


async def read_body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object. Raises `BadInput`."""
    if request.content_length and request.content_length > FRAME_BYTES:
        raise TooLarge("The body may have at most 64 KiB.")
    raw = await request.read()
    if not raw:
        return {}
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise BadInput("The body is not JSON.") from None
    if not isinstance(body, dict):
        raise BadInput("The body must be a JSON object.")
    return body


def as_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def as_problem(body: bytes) -> web.Response:
    problem = orjson.loads(body)
    headers = {"Retry-After": str(problem["retry_after"])} if problem.get("retry_after") is not None else None
    return web.Response(body=body, status=problem["status"], content_type=PROBLEM, headers=headers)


def _number(request: web.Request, name: str, most: float) -> float:
    raw = request.query.get(name, "0")
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise BadInput(f"{name} must be a number from 0 to {most:.0f}.", path=name)
    return value
