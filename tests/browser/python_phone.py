"""Driving the Python phone: a process of its own that obeys on its standard input and tells what happens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.base.env import ROOT
from story.tones import seconds_of_tone


@dataclass
class PythonPhone:
    number: str
    process: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.events.append(json.loads(line))

    def do(self, what: str, **more: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")

    async def until(self, event: str, *, seconds: float = 20) -> dict[str, Any]:
        for _ in range(int(seconds * 20)):
            for seen in self.events:
                if seen["event"] == event:
                    return seen
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {event!r} came; {self.events}")

    @staticmethod
    def seconds_heard(recording: Path, hertz: int) -> float:
        """How long a recording is mainly this tone."""
        return seconds_of_tone(recording, hertz)


@asynccontextmanager
async def python_phone(base: str, folder: Path, number: str) -> AsyncIterator[PythonPhone]:
    arguments = ["phone", "--url", base, "--folder", str(folder), "--json", "run", "--phone", number]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "manage.py"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    phone = PythonPhone(number, process)
    reading = asyncio.create_task(phone.read())
    try:
        await phone.until("ready")
        yield phone
        phone.do("quit")
        await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.cancel()
