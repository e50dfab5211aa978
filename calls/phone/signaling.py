"""The phone's WebSocket: requests that survive a reconnect, events once each and in order, jittered back-off."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp

from calls.phone.account import Account, Refused
from calls.phone.report import Reporter, now_ms

ANSWER_SECONDS = 15.0
WELCOME_SECONDS = 10.0
RETRY_SECONDS = (0.5, 1.5)
CLOCK_SECONDS = 20  # how far a clock may be off before people should know
SETTLED_SECONDS = 5.0
BACKOFF_FIRST, BACKOFF_MOST = 0.25, 15.0
CLOSE_TOKEN, CLOSE_REPLACED = 4401, 4409
GONE = frozenset({"not_authenticated", "token_revoked", "refresh_spent", "device_revoked"})

OnEvent = Callable[[Mapping[str, Any]], None]


class Line(Protocol):
    """How a call talks to the arbiter; the tests have one without a server."""

    async def request(self, op: str, **body: Any) -> dict[str, Any]: ...


def backoff(attempt: int, draw: float) -> float:
    """Seconds before attempt `attempt` (from 0); `draw` from [0, 1) spreads phones that lost the server together."""
    return 0.1 + draw * min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(attempt, 10))


class Signaling:
    """One socket at a time, for as long as the phone lives."""

    def __init__(self, account: Account, reporter: Reporter, on_event: OnEvent) -> None:
        self.account = account
        self.reporter = reporter
        self.on_event = on_event
        self.mark = account.identity.mark
        self.online = asyncio.Event()
        self.stopped: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._pending: dict[str, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session = ""
        self._task: asyncio.Task[None] | None = None
        self._bye: dict[str, Any] = {}
        account.on_tokens = self._renewed

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail_pending("closed", "This phone is ending.")

    async def drop(self) -> None:
        """Close the present socket, as a lost network would; the phone connects again by itself."""
        if self._socket is not None:
            await self._socket.close()

    async def request(self, op: str, **body: Any) -> dict[str, Any]:
        """The answer's `ok`. Raises `Refused`; a passing trouble of the server (`try_again`) is waited out for a while.

        Every try bears the same id, since the first one may have been done. `prepare` isn't repeated: there the user
        waits, and may try again.
        """
        identifier = secrets.token_hex(8)
        for wait in () if op == "prepare" else RETRY_SECONDS:
            try:
                return await self._ask(identifier, op, body)
            except Refused as refused:
                if refused.code != "try_again":
                    raise
                await asyncio.sleep(wait)
        return await self._ask(identifier, op, body)

    async def _ask(self, identifier: str, op: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One request. Sent again, under the same id, after a reconnect."""
        if self.stopped.done():
            raise Refused.here("offline", f"This phone's socket is closed for good: {self.stopped.result()}")
        frame = json.dumps({"k": "req", "id": identifier, "t": op, **body})
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[identifier] = (frame, answer)
        try:
            await self._send(frame)
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except TimeoutError as error:
            raise Refused.here("unreachable", f"The server didn't answer `{op}` in {ANSWER_SECONDS:.0f} s.") from error
        finally:
            self._pending.pop(identifier, None)

    async def _send(self, frame: str) -> None:
        """Send where there is a socket; a request that misses it goes out after the next welcome."""
        if self._socket is not None and self.online.is_set():
            try:
                await self._socket.send_str(frame)
            except (ConnectionError, RuntimeError, aiohttp.ClientError):
                pass

    async def _renewed(self, token: str) -> None:
        await self._send(json.dumps({"k": "token", "token": token}))

    # The connection

    async def _run(self) -> None:
        attempt = 0
        renewing = asyncio.create_task(self._keep_token_fresh())
        try:
            while not self.stopped.done():
                try:
                    if await self._connect() > SETTLED_SECONDS:
                        attempt = 0
                except Refused as refused:
                    if refused.code in GONE or refused.problem.get("status") == 401:
                        self._stop(refused.problem)
                        break
                    self._say_waiting(attempt, refused.problem)
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    self._say_waiting(attempt, {"code": "unreachable", "detail": str(error) or "Nobody answers."})
                if not self.stopped.done():
                    await asyncio.sleep(backoff(attempt, random.random()))  # noqa: S311 - spreads load, hides nothing
                    attempt += 1
        finally:
            renewing.cancel()

    def _say_waiting(self, attempt: int, problem: Mapping[str, Any]) -> None:
        if attempt == 0:
            words = f"No connection to the server; trying again ({problem.get('detail')})"
            self.reporter.say("waiting_for_server", words, code=problem.get("code"), detail=problem.get("detail"))

    async def _keep_token_fresh(self) -> None:
        while True:
            await asyncio.sleep(15)
            try:
                await self.account.access_token()
            except Refused:
                continue  # the next connect says so, if it matters

    async def _connect(self) -> float:
        """Live through one socket. How many seconds it lived once it closed; raises what kept it from opening."""
        token, began = await self.account.access_token(), time.monotonic()
        url = self.account.url.replace("http", "ws", 1) + "/v1/signal"
        async with self.account.http.ws_connect(url, heartbeat=20, max_msg_size=2**17) as socket:
            hello: dict[str, Any] = {
                "k": "hello",
                "v": 1,
                "token": token,
                "device": self.account.identity.device,
                "last_seq": self.mark.last_seq,
            }
            if self.mark.epoch:
                hello["epoch"] = self.mark.epoch
            if self._session:
                hello["resume"] = self._session
            await socket.send_json(hello)
            welcome = await asyncio.wait_for(socket.receive(), WELCOME_SECONDS)
            if welcome.type is aiohttp.WSMsgType.TEXT and json.loads(welcome.data).get("k") == "welcome":
                await self._welcome(socket, json.loads(welcome.data))
                try:
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:
                            await self._frame(json.loads(message.data))
                finally:
                    self.online.clear()
                    self._socket = None
            elif welcome.type is aiohttp.WSMsgType.TEXT:
                self._bye = json.loads(welcome.data).get("problem") or {}
                await socket.receive()  # the close, with its code
            await self._closed(socket.close_code)
            return time.monotonic() - began

    async def _welcome(self, socket: aiohttp.ClientWebSocketResponse, frame: Mapping[str, Any]) -> None:
        self._session = str(frame.get("session", ""))
        if frame.get("epoch") != self.mark.epoch:
            self.mark.epoch, self.mark.last_seq = str(frame.get("epoch", "")), 0
        self._socket = socket
        self._bye = {}
        self.online.set()
        resumed = bool(frame.get("resumed"))
        self.reporter.say("connected_socket", "Connected to the server.", resumed=resumed)
        self._compare_clocks(frame.get("server_time"))
        for waiting, _ in list(self._pending.values()):
            await socket.send_str(waiting)

    def _compare_clocks(self, server_time: object) -> None:
        """Tell where this phone's clock is so far off that calls between right clocks would look old."""
        ahead = (now_ms() - server_time) // 1000 if isinstance(server_time, int) else 0
        if abs(ahead) > CLOCK_SECONDS:
            words = (
                f"This phone's clock is {abs(ahead)} s {'fast' if ahead > 0 else 'slow'}: set it, or calls don't ring."
            )
            self.reporter.say("clock_wrong", words, ahead_seconds=ahead, words=words)

    async def _closed(self, code: int | None) -> None:
        if code == CLOSE_REPLACED:
            detail = "This phone connected from somewhere else; this connection stays closed."
            self._stop(self._bye or {"code": "socket_replaced", "detail": detail})
        elif code == CLOSE_TOKEN:
            self._session = ""
            await self.account.renew()
        else:
            self.reporter.say("disconnected_socket", "The connection to the server was lost.", close_code=code)

    def _stop(self, problem: Mapping[str, Any]) -> None:
        detail = str(problem.get("detail") or problem.get("code") or "The server closed the connection.")
        self.reporter.say("socket_stopped", detail, code=problem.get("code"), detail=detail)
        if not self.stopped.done():
            self.stopped.set_result(detail)
        self._fail_pending("offline", detail)

    def _fail_pending(self, code: str, detail: str) -> None:
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(Refused.here(code, detail))

    # Frames

    async def _frame(self, frame: Mapping[str, Any]) -> None:
        match frame.get("k"):
            case "res":
                self._answer(frame)
            case "ev":
                await self._event(frame)
            case "bye":
                self._bye = dict(frame.get("problem") or {})
            case _:
                pass  # a later version may say more; what isn't known is left alone

    def _answer(self, frame: Mapping[str, Any]) -> None:
        _, answer = self._pending.get(str(frame.get("id")), ("", None))
        if answer is None or answer.done():
            return
        if frame.get("problem"):
            answer.set_exception(Refused(frame["problem"]))
        else:
            answer.set_result(dict(frame.get("ok") or {}))

    async def _event(self, frame: Mapping[str, Any]) -> None:
        sequence = int(frame.get("seq", 0))
        if sequence > self.mark.last_seq:
            self.on_event(frame)  # must not wait: answers come in over this very socket
            self.mark.last_seq = sequence
        await self._send(json.dumps({"k": "ack", "seq": sequence}))
