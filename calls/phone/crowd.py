"""Many phones in one process, in pairs that hold calls without media: load for the capacity controller to measure.

Commands on standard input: `start` (every idle pair calls), `start N`, `hangup N`, `status`, `quit`; as words or as
JSON (`{"do": "hangup", "count": 5}`). Events: `registered` of each phone, `crowd {pairs, holding, subscribers, phones}`
once all are connected, `holding {holding}` whenever the number of standing calls changes, and every pair's `refused`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls.phone.account import Refused
from calls.phone.call import State
from calls.phone.commands import BadCommand, lines
from calls.phone.incoming import Answering, Policy
from calls.phone.leg import Wish
from calls.phone.phone import Device, Phone
from calls.phone.report import Reporter
from calls.phone.silent import maker

AT_ONCE = 4
LOUD = frozenset({"registered", "refused", "socket_stopped"})


@dataclass(slots=True)
class Pair:
    number: int
    caller: Phone
    callee: Phone

    @property
    def holding(self) -> bool:
        call = self.caller.call
        return call is not None and call.state is State.CONNECTED

    @property
    def idle(self) -> bool:
        return self.caller.call is None and self.callee.call is None


class Crowd:
    def __init__(
        self, reporter: Reporter, url: str, folder: Path, *, pairs: int, prefix: str, carrier: str | None
    ) -> None:
        self.reporter = reporter
        self.prefix = prefix
        self.carrier = carrier
        self.pairs = [
            Pair(n, *(self._phone(url, folder / f"{n:03d}-{role}") for role in ("caller", "callee")))
            for n in range(1, pairs + 1)
        ]
        self._held = -1

    def _phone(self, url: str, folder: Path) -> Phone:
        quiet = Reporter(as_json=True, name=folder.name, quiet=True)  # only the crowd tells
        quiet.listeners.append(self._overhear)
        return Phone(folder, url, quiet, maker(url))

    def _overhear(self, event: dict[str, Any]) -> None:
        if event["event"] in LOUD:
            fields = {key: value for key, value in event.items() if key not in {"event", "at"}}
            words = f"{event.get('name')}: {event.get('detail') or 'registered'}"
            self.reporter.say(event["event"], words, **fields)
        if event["event"] in {"connected", "ended"}:
            asyncio.get_running_loop().call_soon(self.count)

    @property
    def phones(self) -> list[Phone]:
        return [phone for pair in self.pairs for phone in (pair.caller, pair.callee)]

    def count(self) -> None:
        held = sum(pair.holding for pair in self.pairs)
        if held != self._held:
            self._held = held
            self.reporter.say("holding", f"{held} of {len(self.pairs)} pairs hold a call.", holding=held)

    async def open(self) -> None:
        """Register and connect every phone, a few at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(index: int, phone: Phone) -> None:
            async with gate:
                await phone.__aenter__()
                if not phone.identity.registered:
                    name = f"crowd {index:03d}"
                    number = f"{self.prefix}{index:06d}"
                    await phone.register(number, Device(label=name), carrier=self.carrier, name=name, code=_no_code)
                phone.policy = Policy(Answering.AUTO)
                await phone.connect()

        await asyncio.gather(*(one(index, phone) for index, phone in enumerate(self.phones, start=1)))
        self.reporter.say(
            "crowd",
            f"{len(self.phones)} phones are connected.",
            pairs=len(self.pairs),
            holding=0,
            subscribers=[phone.identity.subscriber for phone in self.phones],
            phones=[phone.identity.phone for phone in self.phones],
        )

    async def close(self) -> None:
        await asyncio.gather(*(phone.__aexit__() for phone in self.phones), return_exceptions=True)

    def start(self, most: int) -> None:
        for pair in [pair for pair in self.pairs if pair.idle][:most]:
            pair.caller.spawn(pair.caller.place({"phone": pair.callee.identity.phone}, Wish(ref=str(pair.number))))

    def hang_up(self, most: int) -> None:
        for pair in [pair for pair in self.pairs if pair.holding][:most]:
            if pair.caller.call is not None:
                pair.caller.spawn(pair.caller.call.hang_up())

    async def obey(self) -> None:
        """Carry out commands until `quit` or the end of standard input."""
        async for line in lines():
            try:
                do, count = _command(line)
                match do:
                    case "":
                        continue
                    case "start":
                        self.start(count)
                    case "hangup":
                        self.hang_up(count)
                    case "status":
                        self._held = -1
                        self.count()
                    case "quit":
                        return
                    case _:
                        raise BadCommand(f"Nobody knows the command {do!r}.")
            except (BadCommand, ValueError, TypeError, KeyError) as error:
                self.reporter.refused({"code": "bad_command", "detail": f"{error}"}, op="command")


def _command(line: str) -> tuple[str, int]:
    if line.lstrip().startswith("{"):
        command = json.loads(line)
        return str(command["do"]), int(command.get("count", 10**6))
    words = line.split()
    return (words[0] if words else ""), (int(words[1]) if len(words) > 1 else 10**6)


async def _no_code(expires_in: int) -> str:
    detail = "The crowd registers by itself in a demonstration only, where codes come with the answer."
    raise Refused.here("not_a_demonstration", detail)
