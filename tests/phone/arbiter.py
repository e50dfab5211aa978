"""A small arbiter on loopback for the phone's own tests: it relays, and can be told to misbehave.

It knows nothing of rollouts, timers or stores; the real edge is tested elsewhere.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from calls.phone.report import now_ms
from calls.rules.blob import unb64
from calls.rules.devices import check_successor, verify

Tamper = Callable[[str, dict[str, Any]], dict[str, Any] | None]


class Arbiter:
    """`tamper(type, event)` may change an event on its way, or drop it by returning None."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}  # by number
        self.challenges: dict[str, str] = {}  # whose numbers they were sent to
        self.sockets: dict[str, web.WebSocketResponse] = {}  # by device
        self.inboxes: dict[str, list[dict[str, Any]]] = {}
        self.calls: dict[str, dict[str, Any]] = {}
        self.problems: dict[str, dict[str, Any]] = {}  # by op: answer this instead
        self.activates = False
        self.tells_codes = True
        self.requests: list[tuple[str, str, dict[str, Any]]] = []  # device, op, body
        self.hellos: list[dict[str, Any]] = []
        self.tamper: Tamper = lambda kind, event: event
        self.expires_in = 900
        self.refreshes = 0
        self.epoch = "e1"
        self.answers_for: dict[str, str] = {}  # a number: the number of who is shown in its place
        self.server_time = 0  # another than the true one
        self.reads: dict[str, str] = {}  # a number that was dialled: as which the arbiter reads it
        self.rings_as: dict[str, str] = {}  # a caller's number: the number that the callee is told
        self.answers: dict[tuple[str, str], dict[str, Any]] = {}
        self.drop_after: str | None = None  # close the socket instead of answering this op, once

    async def __aenter__(self) -> Arbiter:
        app = web.Application()
        app.router.add_post("/v1/registration", self.registration)
        app.router.add_post("/v1/registration/verify", self.verify)
        app.router.add_post("/v1/tokens/refresh", self.refresh)
        app.router.add_put("/v1/device-list", self.device_list)
        app.router.add_get("/v1/me", self.me)
        app.router.add_get("/v1/me/features", self.features)
        app.router.add_post("/ofrep/v1/evaluate/flags/{key}", self.ofrep)
        app.router.add_get("/v1/signal", self.signal)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        for socket in list(self.sockets.values()):
            await socket.close()
        await self.runner.cleanup()

    # REST

    def problem(self, code: str, status: int, **extra: Any) -> web.Response:
        return web.json_response({"code": code, "status": status, "detail": f"{code}.", **extra}, status=status)

    async def registration(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "registration" in self.problems:
            return self.problem(**self.problems["registration"])
        challenge = str(uuid.uuid5(uuid.NAMESPACE_URL, body["phone"]))
        self.challenges[challenge] = body["phone"]
        code = {"demonstration_code": "123456"} if self.tells_codes else {}
        return web.json_response(
            {"challenge": challenge, "phone": body["phone"], "expires_in": 600, **code}, status=202
        )

    async def verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["code"] != "123456":
            return self.problem("wrong_code", 403)
        phone = self.challenges[body["challenge"]]
        person = self.people.setdefault(phone, {"subscriber": str(uuid.uuid4()), "list": None})
        person |= {"phone": phone, "device": body["device"]["id"], "said": body}
        return web.json_response(self.granted(person))

    def granted(self, person: dict[str, Any]) -> dict[str, Any]:
        return {
            "subscriber": person["subscriber"],
            "device": person["device"],
            "access_token": f"{person['phone']}/{self.refreshes}",
            "refresh_token": f"r{person['phone']}",
            "expires_in": self.expires_in,
        }

    async def refresh(self, request: web.Request) -> web.Response:
        self.refreshes += 1
        if "refresh" in self.problems:
            return self.problem(**self.problems["refresh"])
        return web.json_response(self.granted(self.people[(await request.json())["refresh_token"][1:]]))

    def bearer(self, request: web.Request) -> dict[str, Any]:
        return self.people[request.headers["Authorization"].removeprefix("Bearer ").split("/")[0]]

    async def device_list(self, request: web.Request) -> web.Response:
        person, body = self.bearer(request), await request.json()
        listed = verify(unb64(body["list"]), unb64(body["signature"]))
        try:
            check_successor(listed, unb64(person["list"]["list"]) if person["list"] else None)
        except ValueError as error:
            return self.problem("bad_device_list", 409, why=str(error))
        person["list"] = body
        return web.json_response({"epoch": listed.epoch})

    async def me(self, request: web.Request) -> web.Response:
        if "me" in self.problems:
            return self.problem(**self.problems.pop("me"))
        return web.json_response({"device_list": self.bearer(request)["list"]})

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response({"features": [{"key": "calling", "words": "You can call."}]})

    async def ofrep(self, request: web.Request) -> web.Response:
        return web.json_response({"key": request.match_info["key"], "value": True, "reason": "TARGETING_MATCH"})

    # Signaling

    async def signal(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hello = await socket.receive_json()
        self.hellos.append(hello)
        if "hello" in self.problems:
            problem = self.problems.pop("hello")
            await socket.send_json({"k": "bye", "problem": problem})
            await socket.close(code=problem["close"])
            return socket
        device = hello["device"]
        self.sockets[device] = socket
        last = hello["last_seq"] if hello.get("epoch", self.epoch) == self.epoch else 0
        await socket.send_json(
            {
                "k": "welcome",
                "session": "s",
                "epoch": self.epoch,
                "resumed": "resume" in hello,
                "server_time": self.server_time or now_ms(),
            }
        )
        for event in self.inboxes.get(device, []):
            if event["seq"] > last:
                await socket.send_json(event)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = json.loads(message.data)
            if frame["k"] == "req":
                await self.answer(device, socket, frame)
        return socket

    async def answer(self, device: str, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        op, known = frame["t"], (device, frame["id"])
        if known not in self.answers:
            self.requests.append((device, op, frame))
            handler = getattr(self, f"on_{op}", self.on_other)
            problem = self.problems.get(op)
            self.answers[known] = {"problem": problem} if problem else {"ok": await handler(device, frame)}
        if self.drop_after == op:
            self.drop_after = None
            await socket.close()
            return
        answer = self.answers[known]
        if answer.get("problem", {}).get("code") == "try_again":
            del self.answers[known]  # what passes is no answer yet
        await socket.send_json({"k": "res", "id": frame["id"], **answer})

    async def send(self, to: str, kind: str, call: str, **body: Any) -> None:
        inbox = self.inboxes.setdefault(to, [])
        event = self.tamper(kind, {"k": "ev", "seq": len(inbox) + 1, "t": kind, "call": call, "age_ms": 5, **body})
        if event is None:
            return
        inbox.append(event)
        socket = self.sockets.get(to)
        if socket is not None and not socket.closed:
            await socket.send_json(event)

    def person_of(self, device: str) -> dict[str, Any]:
        return next(person for person in self.people.values() if person["device"] == device)

    def other(self, call: str, device: str) -> str:
        ends = self.calls[call]
        return ends["callee"] if device == ends["caller"] else ends["caller"]

    async def on_prepare(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        meant, call = frame["callee"], str(uuid.uuid4())
        callee = next(one for one in self.people.values() if meant.items() <= one.items())
        if callee["phone"] in self.answers_for:  # a lie: somebody else stands for the number
            callee = self.people[self.answers_for[callee["phone"]]]
        self.calls[call] = {"caller": device, "callee": callee["device"], "connected": set(), "over": False}
        number = self.reads.get(callee["phone"], meant.get("phone"))
        shown = {"subscriber": callee["subscriber"], "phone": number, **callee["list"], "devices": [callee["device"]]}
        return {"call": call, "ticket": "t", "callee": shown, "ice_servers": [], "ring_seconds": 45}

    async def on_invite(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        caller, callee = self.person_of(device), self.calls[frame["call"]]["callee"]
        number = self.rings_as.get(caller["phone"], caller["phone"])
        who = {"subscriber": caller["subscriber"], "device": device, "phone": number}
        who |= {"list": frame["list"], "signature": frame["signature"]}
        more = {"media": "audio", "activates": self.activates, "ice_servers": [], "ring_ms": 45000, "lifetime": 60}
        await self.send(callee, "ring", frame["call"], **{"from": who}, blob=frame["blobs"][callee], **more)
        return {"state": "routing"}

    async def on_ringing(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.send(self.other(frame["call"], device), "ringing", frame["call"], device=device)
        return {}

    async def on_accept(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.send(self.other(frame["call"], device), "accepted", frame["call"], device=device, blob=frame["blob"])
        return {"state": "accepted"}

    async def on_relay(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.send(self.other(frame["call"], device), "relay", frame["call"], device=device, blob=frame["blob"])
        return {}

    async def on_connected(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        ends = self.calls[frame["call"]]
        ends["connected"].add(device)
        if len(ends["connected"]) == 2:
            await self.send(ends["caller"], "connected", frame["call"])
            await self.send(ends["callee"], "connected", frame["call"])
        return {}

    async def finish(self, call: str, reason: str, cause: str | None = None) -> None:
        ends = self.calls[call]
        if not ends["over"]:
            ends["over"] = True
            for device in (ends["caller"], ends["callee"]):
                await self.send(device, "ended", call, reason=reason, cause=cause, words=f"It ended: {reason}.")

    async def on_end(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.finish(frame["call"], frame["reason"])
        return {}

    async def on_cancel(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.finish(frame["call"], "cancelled")
        return {}

    async def on_decline(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.finish(frame["call"], "declined")
        return {}

    async def on_busy(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        await self.finish(frame["call"], "busy")
        return {}

    async def on_other(self, device: str, frame: dict[str, Any]) -> dict[str, Any]:
        return {}
