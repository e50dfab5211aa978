"""What a call needs of its media, whichever kind it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from calls.rules.sdp import Session

Tell = Callable[[Mapping[str, Any]], Awaitable[None]]
Hear = Callable[[], Awaitable[Mapping[str, Any]]]


class MediaFailed(Exception):
    """No way was found between the two phones, or it was lost."""


class SecurityError(Exception):
    """The other end isn't who the handshake says, or what came from it was changed on its way."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How the user wants a call to be: seconds until this phone hangs up (None: it doesn't), what it sends and keeps.

    `tone` in Hz; without tone and WAV a random tone is drawn. `ref` is echoed in the events of a command.
    """

    seconds: float | None = None
    tone: int | None = None
    wav: Path | None = None
    record: Path | None = None
    ref: str | None = None


class Media(Protocol):
    """One call's media. `confirm` returns once both ends are who the handshake says; `lost` is set when it breaks.

    `tone` is what is sent, in Hz, where it is a tone.
    """

    lost: asyncio.Event
    tone: int | None

    async def offer(self) -> Session: ...

    async def answer(self, offer: Session) -> Session: ...

    async def take_answer(self, answer: Session) -> None: ...

    async def confirm(self, own: str, expected: str, tell: Tell, hear: Hear) -> None: ...

    async def stats(self) -> dict[str, Any]: ...

    async def close(self) -> None: ...


MakeMedia = Callable[[Wish, list[dict[str, Any]]], Media]
