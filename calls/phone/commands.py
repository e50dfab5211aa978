"""A phone driven by commands on its standard input: `manage.py phone --url … --folder … --json run`.

One JSON object per line goes in (or a single word: `answer`, `decline`, `hangup`, `quit`, …). Each may carry `"ref"`,
which the events that it causes carry too.

    {"do": "call", "to": "+49…", "seconds": 3, "tone": 523, "wav": "in.wav", "record": "out.wav"}
        all but `to` (or `subscriber`) optional; `seconds` after the call stands this phone hangs up
    {"do": "answer", "seconds": …, "tone": …, "wav": …, "record": …}      {"do": "decline"}      {"do": "hangup"}
    {"do": "set", "answer": "auto|manual|decline|ignore", "after": 1.5, "seconds": …, "tone": …, "wav": …, "record": …}
        the standing wish for calls that come in; `{call}` in `record` becomes the call's id
    {"do": "features"}      {"do": "ofrep", "feature": "calling"}      {"do": "me"}      {"do": "status"}
    {"do": "token"}         {"do": "prepare", "to": "+49…"}   asks whether a call could be placed, and places none
    {"do": "accepts_invites", "value": false}      {"do": "block", "subscriber": …}      {"do": "unblock", …}
    {"do": "safety", "who": "+49…"}      {"do": "trust", "who": "+49…"}      {"do": "verified", "who": "+49…"}
    {"do": "code", "code": "123456"}      {"do": "reconnect"}      {"do": "quit"}

One JSON object per line comes out: `event`, `at` (epoch milliseconds of this machine) and

    registered {phone, subscriber, device} · code_needed {expires_in} · connected_socket {resumed}
    disconnected_socket {close_code} · waiting_for_server {code, detail} · socket_stopped {code, detail}
    ready {…as status} · clock_wrong {ahead_seconds, words}
    Caller: calling {to} · routing {call, peer} · ringing {call, device} · accepted {call, device}
    Callee: ring {call, peer, from, subscriber, media, activates, words?} · answering {call} · accepted {call}
    Both:   media {call, set_up_ms, tone?}   confirmed from phone to phone; sound is sent and recorded from here on
            connected {call}                 the server says that both ends are connected
            ended {call, reason, cause?, words, stats?: {received, sent, lost, jitter_ms, recorded_seconds}}
            reason `refused` with the problem's code as `cause` where no call came about
    missed {call, peer} · busy {call, peer} · key_changed {subscriber, phone?, change, words}
    grant {feature, grant, source, words} · features_changed {version}
    features {features} · ofrep {feature, value, reason, token_issued_at, answer} · me {me} · status {…} · set {…}
    token {access_token} · prepared {to, call}
    safety {who, number} · trusted {who} · verified {who} · done {do}
    refused {op, code, detail, …every other member of the problem: window, invite, retry_at, cause, …}
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from calls.phone.account import Refused
from calls.phone.incoming import Answering, Policy
from calls.phone.leg import Wish
from calls.phone.phone import Phone, named
from calls.rules.devices import safety_number

_STRANGER = "No call has stood with {who} yet."


class BadCommand(Exception):
    """A line that isn't a command; the message says why."""


async def lines(descriptor: int = 0) -> AsyncIterator[str]:
    """The lines of standard input, whatever it is (pipe, terminal, file); ends with it."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def put(line: str | None) -> None:
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        except RuntimeError:
            pass  # the phone has ended meanwhile

    def read() -> None:  # plain reads: a buffered one would hold a lock that the interpreter's end waits for
        rest = b""
        while chunk := os.read(descriptor, 65536):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                put(line.decode("utf-8", "replace"))
        if rest:
            put(rest.decode("utf-8", "replace"))
        put(None)

    threading.Thread(target=read, daemon=True, name="stdin").start()
    while (line := await queue.get()) is not None:
        yield line


class Commands:
    """Carries out one phone's commands. `quit` is set when the phone shall end."""

    def __init__(self, phone: Phone) -> None:
        self.phone = phone
        self.quit = asyncio.Event()
        self.codes: asyncio.Queue[str] = asyncio.Queue()

    async def listen(self) -> None:
        """Obey standard input until it ends or says quit."""
        async for line in lines():
            if line.strip():
                self.obey(line)
            if self.quit.is_set():
                return
        self.quit.set()

    async def ask_code(self, expires_in: int) -> str:
        words = 'Enter the code that was sent to you: {"do":"code","code":"…"}.'
        self.phone.reporter.say("code_needed", words, expires_in=expires_in)
        return await self.codes.get()

    def obey(self, line: str) -> None:
        ref = None
        try:
            command = json.loads(line) if line.lstrip().startswith("{") else {"do": line.strip()}
            if not isinstance(command, dict) or not isinstance(command.get("do"), str):
                raise BadCommand('A command is an object such as {"do": "call", "to": "+49…"}.')
            ref = str(command["ref"]) if "ref" in command else None
            self._start(command, ref)
        except (BadCommand, ValueError, TypeError, KeyError, RecursionError) as error:
            problem = {"code": "bad_command", "detail": f"This command can't be obeyed: {error}"}
            self.phone.reporter.refused(problem, op="command", ref=ref)

    def _start(self, command: Mapping[str, Any], ref: str | None) -> None:
        do, phone = str(command["do"]), self.phone
        match do:
            case "call":
                whom = {"phone": str(command["to"])} if "to" in command else {"subscriber": str(command["subscriber"])}
                if phone.call is not None:
                    raise BadCommand("This phone is in a call already.")
                phone.spawn(phone.place(whom, wish_of(command, Wish(ref=ref))))
            case "answer":
                call = self._call()
                wish = wish_of(command, replace(call.wish, ref=ref))
                call.answer(replace(wish, record=named(wish.record, call.id)) if wish.record else wish)
            case "decline" | "hangup":
                phone.spawn(self._call().hang_up())
            case "set":
                self._set(command, ref)
            case "code":
                self.codes.put_nowait(str(command["code"]))
            case "quit":
                self.quit.set()
            case "status":
                phone.reporter.say("status", "", ref=ref, **status(phone))
            case _:
                work = self._questions().get(do)
                if work is None:
                    raise BadCommand(f"Nobody knows the command {do!r}.")
                phone.spawn(self._asked(do, work, command, ref))

    def _call(self) -> Any:
        if self.phone.call is None:
            raise BadCommand("There is no call.")
        return self.phone.call

    def _set(self, command: Mapping[str, Any], ref: str | None) -> None:
        old = self.phone.policy
        answering = Answering(command.get("answer", old.answering))
        self.phone.policy = Policy(answering, float(command.get("after", old.after)), wish_of(command, old.wish))
        self.phone.reporter.say("set", f"Calls that come in: {answering}.", ref=ref, answer=str(answering))

    # Questions to the server, each answered by one event

    def _questions(self) -> Mapping[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            "features": self._features,
            "ofrep": self._ofrep,
            "me": self._me,
            "token": self._token,
            "prepare": self._prepare,
            "accepts_invites": self._accepts_invites,
            "block": lambda c: self._ask("PUT", f"/v1/me/blocks/{c['subscriber']}"),
            "unblock": lambda c: self._ask("DELETE", f"/v1/me/blocks/{c['subscriber']}"),
            "safety": self._safety,
            "trust": self._trust,
            "verified": self._verified,
            "reconnect": self._reconnect,
        }

    async def _asked(self, do: str, work: Callable[..., Any], command: Mapping[str, Any], ref: str | None) -> None:
        try:
            event, sentence, fields = await work(command)
            self.phone.reporter.say(event, sentence, ref=ref, **fields)
        except Refused as refused:
            self.phone.reporter.refused(refused.problem, op=do, ref=ref)
        except (KeyError, BadCommand) as error:
            problem = {"code": "bad_command", "detail": f"This command can't be obeyed: {error}"}
            self.phone.reporter.refused(problem, op=do, ref=ref)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        await self.phone.account.ask(method, path, body)
        return "done", "Done.", {"do": path}

    async def _features(self, command: Mapping[str, Any]) -> Any:
        features = await self.phone.account.features()
        return "features", json.dumps(features, ensure_ascii=False, indent=2), {"features": features}

    async def _ofrep(self, command: Mapping[str, Any]) -> Any:
        feature = str(command["feature"])
        answer = await self.phone.account.evaluate(feature)
        tokens = self.phone.identity.tokens
        issued = int(tokens.issued_at * 1000) if tokens else None
        value, reason = answer.get("value"), answer.get("reason")
        fields = {"feature": feature, "value": value, "reason": reason, "token_issued_at": issued, "answer": answer}
        return "ofrep", f"{feature}: {value} ({reason}).", fields

    async def _token(self, command: Mapping[str, Any]) -> Any:
        token = await self.phone.account.access_token()
        return "token", "The access token of this phone.", {"access_token": token}

    async def _prepare(self, command: Mapping[str, Any]) -> Any:
        """Ask whether a call could be placed, and place none."""
        to = str(command["to"])
        prepared = await self.phone.signaling.request("prepare", callee={"phone": to}, media="audio")
        return "prepared", f"{to} can be called.", {"to": to, "call": prepared["call"]}

    async def _me(self, command: Mapping[str, Any]) -> Any:
        me = await self.phone.account.ask("GET", "/v1/me")
        return "me", json.dumps(me, ensure_ascii=False, indent=2), {"me": me}

    async def _accepts_invites(self, command: Mapping[str, Any]) -> Any:
        return await self._ask("PATCH", "/v1/me", {"accepts_invites": bool(command["value"])})

    async def _safety(self, command: Mapping[str, Any]) -> Any:
        who, me = str(command["who"]), self.phone.identity
        contact = me.contact(who)
        if contact is None:
            raise BadCommand(_STRANGER.format(who=who))
        theirs = (contact.pin.account_key, contact.subscriber)
        digits = safety_number((me.keys.account_public, me.subscriber), theirs)
        shown = " ".join(digits[at : at + 5] for at in range(0, 60, 5))
        return "safety", f"Safety number with {who}: {shown}", {"who": who, "number": digits}

    async def _trust(self, command: Mapping[str, Any]) -> Any:
        who = str(command["who"])
        if not self.phone.identity.trust(who):
            raise BadCommand(f"Nothing has changed about {who}.")
        return "trusted", f"You agree to what has changed about {who}: the next call with them counts.", {"who": who}

    async def _verified(self, command: Mapping[str, Any]) -> Any:
        who = str(command["who"])
        if not self.phone.identity.verify(who):
            raise BadCommand(_STRANGER.format(who=who))
        return "verified", f"You have compared the safety number with {who}.", {"who": who}

    async def _reconnect(self, command: Mapping[str, Any]) -> Any:
        await self.phone.signaling.drop()
        return "done", "The connection was dropped.", {"do": "reconnect"}


def wish_of(command: Mapping[str, Any], wish: Wish) -> Wish:
    """The wish with whatever the command says differently."""
    changes: dict[str, Any] = {}
    if command.get("seconds") is not None:
        changes["seconds"] = float(command["seconds"])
    if command.get("tone") is not None:
        changes["tone"] = int(command["tone"])
    for name in ("wav", "record"):
        if command.get(name) is not None:
            changes[name] = Path(str(command[name]))
    return replace(wish, **changes)


def status(phone: Phone) -> dict[str, Any]:
    """Who this phone is and what it is doing."""
    me, call = phone.identity, phone.call
    return {
        "phone": me.phone or None,
        "subscriber": me.subscriber or None,
        "device": me.device,
        "online": phone.signaling.online.is_set(),
        "answer": str(phone.policy.answering),
        "call": call.id if call else None,
        "state": str(call.state) if call else "idle",
    }
