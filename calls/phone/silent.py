"""Calls without media, for load and for holding calls open: everything is sealed and checked, nothing is sent or heard.

The offer and answer are well-formed but lead nowhere; the handshake is confirmed by sealed relay messages instead of
inside DTLS. Only two phones in this mode can hold such a call. aiortc is never imported.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from typing import Any

from calls.phone.leg import Hear, MakeMedia, MediaFailed, SecurityError, Tell
from calls.rules.sdp import Candidate, CandidateType, Session, Setup

CONFIRM_SECONDS = 20.0


class Silence:
    """`Media` that carries nothing."""

    tone: int | None = None

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    async def offer(self) -> Session:
        return self._session(Setup.ACTPASS)

    async def answer(self, offer: Session) -> Session:
        return self._session(Setup.ACTIVE)

    async def take_answer(self, answer: Session) -> None:
        return None

    def _session(self, setup: Setup) -> Session:
        nowhere = Candidate("127.0.0.1", 9, 1, CandidateType.HOST, "1")
        return Session(secrets.token_hex(4), secrets.token_hex(16), secrets.token_hex(32), setup, (nowhere,))

    async def confirm(self, own: str, expected: str, tell: Tell, hear: Hear) -> None:
        await tell({"t": "confirm", "confirm": own})
        try:
            heard = await asyncio.wait_for(hear(), CONFIRM_SECONDS)
        except TimeoutError as error:
            raise MediaFailed("The other phone didn't confirm the call.") from error
        if heard.get("t") != "confirm" or not hmac.compare_digest(str(heard.get("confirm")), expected):
            raise SecurityError("The other end took part in another handshake.")

    async def stats(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None:
        return None


def maker(url: str) -> MakeMedia:
    return lambda wish, servers: Silence()
