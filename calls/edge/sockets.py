"""The signaling socket, `/v1/signal`: hello, welcome, requests, events, and clear words when something is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from calls.rules.messages import FRAME_BYTES, Ack, Hello, Message, NewToken, read
from controlplane.base.refusal import BadInput, NotAllowed, NotAuthenticated, Refusal, TooMany, TryAgain

from . import limits
from .answers import Answers
from .errors import OutOfOrder, SocketReplaced, signed_out
from .inbox import Inboxes
from .metrics import Metrics
from .operations import Asked, read_request
from .session import Session
from .store import Attached, Store, StoreAway
from .tokens import Token, Tokens, left, token_expired

BAD_FRAME, NOT_AUTHENTICATED, NO_HELLO, REPLACED, TOO_MANY = 4400, 4401, 4408, 4409, 4429
MOST_AT_ONCE = 8
log = structlog.get_logger("edge")


class Closed(Exception):
    """The socket is to be closed, with this refusal and close code."""

    def __init__(self, refusal: Refusal, code: int) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.code = code


class Sockets:
    """Every open socket of this edge."""

    def __init__(
        self,
        *,
        origins: frozenset[str],
        grace: Callable[[], int],
        is_revoked: Callable[[str], bool],
        tokens: Tokens,
        store: Store,
        inboxes: Inboxes,
        answers: Answers,
        metrics: Metrics,
        rates: limits.Limits,
    ) -> None:
        self.origins = origins
        self.grace = grace
        self.is_revoked = is_revoked
        self.tokens = tokens
        self.store = store
        self.inboxes = inboxes
        self.answers = answers
        self.metrics = metrics
        self.rates = rates
        self.stopping = False
        self._people: dict[str, set[Session]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and origin.rstrip("/") not in self.origins:
            raise NotAllowed("Pages of this origin may not open a signaling socket: add it to ALLOWED_ORIGINS.")
        socket = web.WebSocketResponse(
            timeout=2,
            heartbeat=30,
            autoping=False,  # pings count like other frames
            max_msg_size=FRAME_BYTES,
            compress=False,
            writer_limit=FRAME_BYTES,
        )
        await socket.prepare(request)
        session: Session | None = None
        greeted = False
        try:
            token, hello = await self._hello(socket)
            session = Session(secrets.token_hex(8), token, socket, request.transport)
            await self._welcome(session, hello)
            greeted = True
            await self._listen(session)
        except Closed as closed:
            await (session or _unnamed(socket, request)).bye(closed.refusal, closed.code)
        except StoreAway:
            away = TryAgain("The signaling store can't be reached. Try again in a moment.")
            await (session or _unnamed(socket, request)).bye(away, WSCloseCode.TRY_AGAIN_LATER)
        finally:
            if session is not None:
                await self._leave(session, greeted)
        return socket

    async def _hello(self, socket: web.WebSocketResponse) -> tuple[Token, dict[str, Any]]:
        try:
            async with asyncio.timeout(limits.HELLO_SECONDS):
                frame = _frame(await socket.receive())
        except TimeoutError:
            raise Closed(OutOfOrder("Send hello within 5 s of opening the socket."), NO_HELLO) from None
        if frame.get("k") != "hello":
            raise Closed(OutOfOrder("The first frame must be hello."), BAD_FRAME)
        hello = _read(Hello, frame)
        if hello["v"] != 1:
            raise Closed(BadInput("This service speaks version 1.", path="/v"), BAD_FRAME)
        token = self._token(hello["token"])
        if token.device != hello["device"]:
            raise Closed(NotAuthenticated("The token belongs to another device."), NOT_AUTHENTICATED)
        try:
            await self.rates.spend(limits.HELLO, token.device)
        except TooMany as refusal:
            raise Closed(refusal, TOO_MANY) from None
        return token, hello

    def _token(self, raw: str) -> Token:
        """A token that is good now; past its expiry only while phones can't refresh theirs."""
        try:
            token = self.tokens.read(raw, time.time(), self.grace())
        except NotAuthenticated as refusal:
            raise Closed(refusal, NOT_AUTHENTICATED) from None
        if self.is_revoked(token.device):
            raise Closed(signed_out(), NOT_AUTHENTICATED)
        return token

    async def _welcome(self, session: Session, hello: Mapping[str, Any]) -> None:
        """The socket takes its device's place; an older socket of the device is told and closed."""
        if self.stopping:
            raise Closed(TryAgain("This server is restarting. Connect again."), WSCloseCode.SERVICE_RESTART)
        device, older = session.device, self.inboxes.sessions.get(session.device)
        mine = self._people.setdefault(session.subscriber, set())
        if len(mine - {older}) >= limits.SOCKETS_PER_PERSON:
            raise Closed(TooMany("Four devices of this person are connected already.", retry_after=60), TOO_MANY)
        epoch = self.store.known_epoch
        last = hello.get("last_seq", 0) if hello.get("epoch", "") in ("", epoch) else 0
        self.inboxes.sessions[device] = session
        mine.add(session)
        try:
            attached = await self._attach(session, last)
        except StoreAway:
            if older is not None and not older.closing and self.inboxes.sessions.get(device) is session:
                self.inboxes.sessions[device] = older
            raise
        last = last if last <= attached.seq else 0
        entries = await self.inboxes.late(attached.entries)
        whole = not attached.entries or attached.entries[0].seq == last + 1
        session.epoch = epoch
        session.send_json(
            {
                "k": "welcome",
                "session": session.name,
                "epoch": epoch,
                "resumed": bool(hello.get("resume")) and hello.get("epoch") == epoch and whole,
                "server_time": self.inboxes.clock(),
                "subscriber": session.subscriber,
                "device": device,
            }
        )
        self.metrics.sockets.inc()
        for entry in entries:
            session.send_event(entry, self.inboxes.clock())
        session.sent = max(session.sent, attached.seq)
        session.ready = True
        if session.behind:
            await self.inboxes.catch_up(session)
        if older is not None:
            self.inboxes.arbiter.spawn(_replace(older))
        elif attached.old:
            edge, _, name = attached.old.partition("|")
            if edge != self.store.edge:
                await self.store.ring(edge, f"replaced\n{device}\n{name}")

    async def _attach(self, session: Session, last_seq: int) -> Attached:
        try:
            return await self.store.attach(session.device, session.name, last_seq)
        except StoreAway:  # connecting again costs a phone more than a second try costs us
            return await self.store.attach(session.device, session.name, last_seq)

    async def _listen(self, session: Session) -> None:
        slots = asyncio.Semaphore(MOST_AT_ONCE)
        async for message in session.socket:
            if not session.budget.spend(time.monotonic()):
                raise Closed(TooMany("More than 20 frames a second came from this socket.", retry_after=5), TOO_MANY)
            if message.type is WSMsgType.PING:
                with contextlib.suppress(ConnectionError):  # it is gone: the next message says so
                    await session.socket.pong(message.data)
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                continue
            frame = _frame(message)
            match frame.get("k"):
                case "req":
                    await self._request(session, frame, slots)
                case "ack":
                    self.inboxes.ack(session, _read(Ack, frame)["seq"])
                case "token":
                    self._renew(session, _read(NewToken, frame)["token"])
                case "hello":
                    raise Closed(OutOfOrder("hello was said already."), BAD_FRAME)
                case _:
                    raise Closed(BadInput("k must be req, ack or token.", path="/k"), BAD_FRAME)

    async def _request(self, session: Session, frame: Mapping[str, Any], slots: asyncio.Semaphore) -> None:
        """One request. `prepare` waits on PostgreSQL, and so runs beside the others; the rest keeps its order."""
        id_ = frame.get("id")
        if not isinstance(id_, str) or not 1 <= len(id_) <= 128:
            raise Closed(BadInput("id must be text of 1 to 128 characters.", path="/id"), BAD_FRAME)
        if left(session.token, time.time(), self.grace()) < 0:
            raise Closed(token_expired(), NOT_AUTHENTICATED)
        try:
            op = frame.get("t")
            fields = read_request(op, frame)
        except BadInput as refusal:
            _respond(session, id_, False, self.answers.problem(refusal))
            return
        asked = Asked(session.token, str(op), fields, id_, time.monotonic())
        if op != "prepare":
            _respond(session, id_, *await self.answers.answer(asked))
            return
        await slots.acquire()

        async def beside() -> None:
            try:
                _respond(session, id_, *await self.answers.answer(asked))
            finally:
                slots.release()

        self.inboxes.arbiter.spawn(beside())

    def _renew(self, session: Session, raw: str) -> None:
        token = self._token(raw)
        if (token.subscriber, token.device) != (session.subscriber, session.device):
            raise Closed(NotAuthenticated("The token belongs to another device."), NOT_AUTHENTICATED)
        session.token = token

    async def _leave(self, session: Session, greeted: bool) -> None:
        session.closing = True
        if greeted:
            self.metrics.sockets.dec()
        people = self._people.get(session.subscriber, set())
        people.discard(session)
        if not people:
            self._people.pop(session.subscriber, None)
        if self.inboxes.sessions.get(session.device) is session:
            del self.inboxes.sessions[session.device]
        if session.flushing is not None:
            session.flushing.cancel()
            await self.inboxes.flush(session)
        if session.device in self.inboxes.sessions:
            return  # whatever the place says, it leads doorbells to this edge, where a newer socket is
        try:
            await self.store.detach(session.device, session.name)
        except StoreAway:
            pass  # the place is overwritten by the device's next socket

    def replaced(self, device: str, name: str) -> None:
        """Another edge has a newer socket of this device."""
        session = self.inboxes.sessions.get(device)
        if session is not None and session.name == name:
            self.inboxes.arbiter.spawn(_replace(session))

    def close_expired(self, sessions: Iterable[Session]) -> None:
        """Sockets whose token is honoured no longer say so and close."""
        now, grace = time.time(), self.grace()
        for session in sessions:
            if session.ready and left(session.token, now, grace) < 0:
                self.inboxes.arbiter.spawn(session.bye(token_expired(), NOT_AUTHENTICATED))

    async def sign_out(self, device: str) -> None:
        """The device's socket and its long polls end."""
        self.inboxes.wake(device)
        session = self.inboxes.sessions.get(device)
        if session is not None:
            await session.bye(signed_out(), NOT_AUTHENTICATED)

    async def close(self) -> None:
        """Every phone is told to connect again, and why."""
        self.stopping = True
        refusal = TryAgain("This server is restarting. Connect again.", retry_after=1)
        byes = [session.bye(refusal, WSCloseCode.SERVICE_RESTART) for session in list(self.inboxes.sessions.values())]
        await asyncio.gather(*byes, return_exceptions=True)


def _unnamed(socket: web.WebSocketResponse, request: web.Request) -> Session:
    nobody = Token("", "", 0, 0, {}, {}, frozenset())
    return Session("", nobody, socket, request.transport)


async def _replace(session: Session) -> None:
    await session.bye(SocketReplaced("A newer socket of this device took over."), REPLACED)


def _respond(session: Session, id_: str, good: bool, body: bytes) -> None:
    session.send(b'{"k":"res","id":%s,"%s":%s}' % (orjson.dumps(id_), b"ok" if good else b"problem", body))


def _frame(message: WSMessage) -> dict[str, Any]:
    if message.type is WSMsgType.BINARY:
        raise Closed(BadInput("Frames are JSON in text, not binary."), WSCloseCode.UNSUPPORTED_DATA)
    if message.type in (WSMsgType.PING, WSMsgType.PONG):
        raise Closed(OutOfOrder("The first frame must be hello."), BAD_FRAME)
    if message.type is not WSMsgType.TEXT:
        raise Closed(OutOfOrder("The socket was closed."), WSCloseCode.OK)
    try:
        frame = orjson.loads(message.data)
    except orjson.JSONDecodeError:
        raise Closed(BadInput("The frame is not JSON."), BAD_FRAME) from None
    if not isinstance(frame, dict):
        raise Closed(BadInput("A frame is a JSON object."), BAD_FRAME)
    return frame


def _read(message: type[Message], frame: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return read(message, frame)
    except BadInput as error:
        raise Closed(error, BAD_FRAME) from None
