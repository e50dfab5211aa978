"""A stand-in for the edge, only for tests of the web phone's own screens: it registers anybody and forwards messages.

It decides nothing that a real edge decides: who has calling, and what is refused, is set by the test. One device per
number, one inbox per device, everything in memory. The phones' journeys run against the real stack elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from calls.rules.blob import unb64
from calls.rules.devices import BadDeviceList, check_successor, verify
from controlplane.accounts.rules.account_proof import is_shown
from controlplane.accounts.rules.device_list import DeviceKeys
from tests.browser.chromium import add_phone_files


@dataclass(slots=True)
class Person:
    phone: str
    subscriber: str = field(default_factory=lambda: str(uuid.uuid4()))
    device: str = ""
    published: dict[str, str] | None = None
    said: dict[str, Any] = field(default_factory=dict)  # when it registered
    enabled: bool = False
    socket: web.WebSocketResponse | None = None
    inbox: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)


class FakeEdge:
    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.challenges: dict[str, str] = {}  # whose numbers they were sent to
        self.refusal: dict[str, Any] | None = None
        self.loses_invites = False  # takes them, and says that it couldn't
        self.calls: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, str]] = []
        self.expires_in = 900
        self.refreshes: list[str] = []
        self.renewals = 0
        self.tamper_relays = False
        self.clock_ahead_ms = 0
        self.killed = False
        self.holds_rings: list[tuple[Person, dict[str, Any]]] | None = None  # rings go here instead of to their phone
        self.reads: dict[str, str] = {}  # a number that was written: as which the edge reads it
        self.answers_for: dict[str, str] = {}  # a number: the number of who is shown in its place
        self.rings_as: dict[str, str] = {}  # a caller's number: the number that the callee is told
        self.app = web.Application()
        add_phone_files(self.app)
        self.app.router.add_post("/v1/registration", self.register)
        self.app.router.add_post("/v1/registration/verify", self.verify)
        self.app.router.add_post("/v1/tokens/refresh", self.refresh)
        self.app.router.add_put("/v1/device-list", self.keep_list)
        self.app.router.add_get("/v1/device-list", self.show_list)
        self.app.router.add_get("/v1/me/features", self.features)
        self.app.router.add_get("/v1/me/devices", self.devices)
        self.app.router.add_route("*", "/v1/me/devices/{device}", self.change_device)
        self.app.router.add_get("/v1/signal", self.signal)

    def person(self, token: str) -> Person:
        return next(person for person in self.people.values() if person.subscriber == token)

    async def register(self, request: web.Request) -> web.Response:
        phone = (await request.json())["phone"]
        self.people.setdefault(phone, Person(phone))
        challenge = str(uuid.uuid5(uuid.NAMESPACE_URL, phone))
        self.challenges[challenge] = phone
        answer = {"challenge": challenge, "phone": self.reads.get(phone, phone), "demonstration_code": "123456"}
        return web.json_response({**answer, "expires_in": 600, "resend_after": 30}, status=202)

    async def verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["code"] != "123456":
            detail = "The code is wrong. Type it again, or ask for a new one."
            return web.json_response({"code": "code_wrong", "status": 403, "detail": detail}, status=403)
        person = self.people[self.challenges[body["challenge"]]]
        person.device, person.said = body["device"]["id"], body
        return web.json_response(self.granted(person))

    def granted(self, person: Person) -> dict[str, Any]:
        refresh = f"{person.subscriber}/{len(self.refreshes)}"
        token = {"access_token": person.subscriber, "expires_in": self.expires_in, "refresh_token": refresh}
        return {"subscriber": person.subscriber, "device": person.device, **token}

    async def refresh(self, request: web.Request) -> web.Response:
        token = (await request.json())["refresh_token"]
        assert token not in self.refreshes, "a refresh token was spent twice"
        self.refreshes.append(token)
        return web.json_response(self.granted(self.person(token.split("/")[0])))

    async def keep_list(self, request: web.Request) -> web.Response:
        person = self.person(request.headers["Authorization"].removeprefix("Bearer "))
        sent = await request.json()
        listed = verify(unb64(sent["list"]), unb64(sent["signature"]))
        try:
            check_successor(listed, unb64(person.published["list"]) if person.published else None)
        except BadDeviceList as error:
            return web.json_response({"code": "bad_device_list", "status": 409, "detail": str(error)}, status=409)
        own = DeviceKeys(*(unb64(person.said["keys"][name]) for name in ("ed25519", "x25519")))
        challenge, device = uuid.UUID(person.said["challenge"]), uuid.UUID(person.device)
        signature = unb64(person.said["account_signature"])
        assert is_shown(listed.account_key, signature, challenge=challenge, device=device, keys=own)
        person.published = sent
        return web.json_response({"epoch": listed.epoch})

    async def show_list(self, request: web.Request) -> web.Response:
        person = self.person(request.headers["Authorization"].removeprefix("Bearer "))
        return web.json_response({"epoch": 1, **(person.published or {})})

    async def features(self, request: web.Request) -> web.Response:
        person = self.person(request.headers["Authorization"].removeprefix("Bearer "))
        words = "It was turned on for you." if person.enabled else "Somebody who has it can turn it on by calling you."
        cause = "granted_by_invite" if person.enabled else "waiting_for_launch"
        if self.killed:
            cause, words = "killed", "This is stopped for everybody for now. Nothing is wrong with your phone."
        feature = {
            "key": "voice-calls",
            "enabled": person.enabled and not self.killed,
            "cause": cause,
            "words": words,
            "invites": {"left": 3, "words": "Call somebody who doesn't have it: 3 more people can join."},
        }
        return web.json_response({"features": [feature]})

    async def devices(self, request: web.Request) -> web.Response:
        person = self.person(request.headers["Authorization"].removeprefix("Bearer "))
        own = {
            "id": person.device,
            "label": "This one",
            "seen_at": "2026-03-14T12:00:00Z",
            "this": True,
            "listed": True,
        }
        return web.json_response({"devices": [own, *person.others]})

    async def change_device(self, request: web.Request) -> web.Response:
        person = self.person(request.headers["Authorization"].removeprefix("Bearer "))
        (device,) = (one for one in person.others if one["id"] == request.match_info["device"])
        if request.method == "DELETE":
            person.others.remove(device)
            return web.Response(status=204)
        device |= await request.json()
        return web.json_response(device)

    # Signaling

    async def signal(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hello = json.loads((await socket.receive()).data)
        person = self.person(hello["token"])
        person.socket = socket
        await socket.send_json(
            {
                "k": "welcome",
                "session": "s",
                "epoch": "one",
                "resumed": False,
                "server_time": int(time.time() * 1000) + self.clock_ahead_ms,
            }
        )
        after = hello["last_seq"] if hello["epoch"] == "one" else 0
        for event in person.inbox[after:]:
            await socket.send_json(event)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            frame = json.loads(message.data)
            self.renewals += frame["k"] == "token"
            if frame["k"] == "req":
                await self.answer(person, frame)
        return socket

    async def answer(self, person: Person, frame: dict[str, Any]) -> None:
        self.seen.append((person.phone, frame["t"]))
        try:
            said = {"ok": await getattr(self, f"on_{frame['t']}")(person, frame) or {}}
        except Refused as refused:
            said = {"problem": refused.problem}
        assert person.socket is not None
        await person.socket.send_json({"k": "res", "id": frame["id"], **said})

    async def tell(self, person: Person, event: str, **body: Any) -> None:
        if event == "ring" and self.holds_rings is not None:
            self.holds_rings.append((person, body))
            return
        frame = {"k": "ev", "seq": len(person.inbox) + 1, "t": event, "age_ms": 0, **body}
        person.inbox.append(frame)
        if person.socket is not None and not person.socket.closed:
            await person.socket.send_json(frame)

    def other(self, person: Person, frame: dict[str, Any]) -> Person:
        call = self.calls[frame["call"]]
        return call["callee"] if person is call["caller"] else call["caller"]

    async def on_prepare(self, person: Person, frame: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.05)
        number = frame["callee"]["phone"]
        callee = self.people.get(self.answers_for.get(number, number))
        if self.refusal is not None:
            raise Refused(self.refusal)
        if callee is None or callee.published is None:
            raise Refused({"code": "cannot_be_called_now", "status": 409, "detail": "This number can't be called now."})
        call = str(uuid.uuid4())
        self.calls[call] = {"caller": person, "callee": callee}
        party = {"subscriber": callee.subscriber, "phone": self.reads.get(number, number), **callee.published}
        party |= {"devices": [callee.device]}
        return {"call": call, "ticket": "t", "callee": party, "ice_servers": [], "ring_seconds": 45}

    async def on_invite(self, person: Person, frame: dict[str, Any]) -> dict[str, Any]:
        callee = self.calls[frame["call"]]["callee"]
        number = self.rings_as.get(person.phone, person.phone)
        party = {"subscriber": person.subscriber, "device": person.device, "phone": number}
        await self.tell(
            callee,
            "ring",
            call=frame["call"],
            media="audio",
            blob=frame["blobs"][callee.device],
            activates=not callee.enabled,
            ice_servers=[],
            ring_ms=45_000,
            lifetime=60,
            **{"from": {**party, "list": frame["list"], "signature": frame["signature"]}},
        )
        if self.loses_invites:
            raise Refused({"code": "try_again", "status": 503, "detail": "Try again in a moment."})
        return {"state": "routing"}

    async def on_ringing(self, person: Person, frame: dict[str, Any]) -> None:
        await self.tell(self.other(person, frame), "ringing", call=frame["call"], device=person.device)

    async def on_accept(self, person: Person, frame: dict[str, Any]) -> dict[str, Any]:
        accepted = {"call": frame["call"], "device": person.device, "blob": frame["blob"]}
        await self.tell(self.other(person, frame), "accepted", **accepted)
        if not person.enabled:
            person.enabled = True
            await self.tell(person, "grant", feature="voice-calls", grant=str(uuid.uuid4()), source="invite", words="")
        return {"state": "accepted"}

    async def on_relay(self, person: Person, frame: dict[str, Any]) -> None:
        blob = frame["blob"]
        if self.tamper_relays:
            blob = blob[:-2] + ("AA" if blob[-2:] != "AA" else "BB")
        await self.tell(self.other(person, frame), "relay", call=frame["call"], device=person.device, blob=blob)

    async def on_connected(self, person: Person, frame: dict[str, Any]) -> None:
        self.calls[frame["call"]].setdefault("connected_at", time.time())

    async def on_alive(self, person: Person, frame: dict[str, Any]) -> None:
        return None

    async def _over(self, person: Person, frame: dict[str, Any], reason: str) -> None:
        ended = {"call": frame["call"], "reason": reason, "cause": None, "words": ""}
        await self.tell(self.other(person, frame), "ended", **ended)
        await self.tell(person, "ended", **ended)

    async def on_end(self, person: Person, frame: dict[str, Any]) -> None:
        await self._over(person, frame, frame["reason"])

    async def on_decline(self, person: Person, frame: dict[str, Any]) -> None:
        await self._over(person, frame, "declined")

    async def on_cancel(self, person: Person, frame: dict[str, Any]) -> None:
        await self._over(person, frame, "cancelled")

    async def on_busy(self, person: Person, frame: dict[str, Any]) -> None:
        await self._over(person, frame, "busy")


class Refused(Exception):
    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem["code"])
        self.problem = problem
