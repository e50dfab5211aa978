"""Media between two phones over aiortc: one bundled connection with sound and a data channel, and nothing by default.

No ICE server is used unless the arbiter names one: aiortc's own default would ask a public STUN server. On a loopback
base URL only the loopback address is gathered, so that nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import aioice.ice
import aiortc.codecs
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.codecs.opus import OpusEncoder
from aiortc.rtcdtlstransport import certificate_digest

from calls.phone.leg import Hear, MakeMedia, MediaFailed, SecurityError, Tell, Wish
from calls.phone.sound import RATE, Recorder, Source, read_wav, tone
from calls.rules.profile import Profile, ProfileName, profile
from calls.rules.sdp import Session, Setup, from_sdp

CONNECT_SECONDS = 20.0
GATHER_SECONDS = 2.0
TONES = range(400, 2000, 50)

_addresses: ContextVar[tuple[str, ...] | None] = ContextVar("addresses", default=None)
_all_addresses = aioice.ice.get_host_addresses


def _chosen_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    """aioice's addresses, or those chosen for the call at hand (aioice itself never gathers 127.0.0.1)."""
    chosen = _addresses.get()
    return list(_all_addresses(use_ipv4, use_ipv6)) if chosen is None else list(chosen)


class ConstantOpus(OpusEncoder):  # type: ignore[misc]  # aiortc has no types
    """Opus at a constant rate: the sizes of encrypted packets then say nothing about what is said."""

    def __init__(self, chosen: Profile | None = None) -> None:
        super().__init__()
        chosen = chosen or profile(ProfileName.M)
        self.codec.bit_rate = chosen.bitrate
        self.codec.options = {"application": "voip", "vbr": "off", "fec": "1" if chosen.fec else "0"}


aioice.ice.get_host_addresses = _chosen_addresses
aiortc.codecs.OpusEncoder = ConstantOpus


class Connection:
    """`Media` over aiortc. `loopback` gathers 127.0.0.1 alone; `servers` are the arbiter's ICE servers."""

    def __init__(
        self,
        source: Source,
        recorder: Recorder,
        *,
        servers: Iterable[Mapping[str, Any]] = (),
        loopback: bool = False,
        tone: int | None = None,
    ) -> None:
        self.tone = tone
        self.source = source
        self.recorder = recorder
        self.lost = asyncio.Event()
        self._loopback = loopback
        self._expected = ""
        self._connected = asyncio.Event()
        self._open = asyncio.Event()
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        given = [
            RTCIceServer(urls=entry["urls"], username=entry.get("username"), credential=entry.get("credential"))
            for entry in servers
        ]
        configuration = RTCConfiguration(iceServers=given, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        self.peer = RTCPeerConnection(configuration)
        self.peer.on("connectionstatechange", self._changed)
        self.peer.on("track", self._track)

    # Offer and answer

    async def offer(self) -> Session:
        self._prepare()
        await self._describe(await self.peer.createOffer())
        return from_sdp(self.peer.localDescription.sdp, Setup.ACTPASS)

    async def answer(self, offer: Session) -> Session:
        self._prepare()
        self._expected = offer.fp
        await self._remote(offer, "offer")
        await self._describe(await self.peer.createAnswer())
        return from_sdp(self.peer.localDescription.sdp, Setup.ACTIVE)

    async def take_answer(self, answer: Session) -> None:
        self._expected = answer.fp
        await self._remote(answer, "answer")

    async def _remote(self, session: Session, kind: str) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp=session.as_sdp(), type=kind))
        # With one bundled transport aiortc takes the candidates of the last section alone, where there are none.
        for found in session.cands:
            await self.peer.addIceCandidate(
                RTCIceCandidate(
                    component=1,
                    foundation=found.found,
                    ip=found.ip,
                    port=found.port,
                    priority=found.prio,
                    protocol="udp",
                    type=str(found.type),
                    relatedAddress=found.raddr,
                    relatedPort=found.rport,
                    sdpMid="0",
                )
            )
        await self.peer.addIceCandidate(None)

    def _prepare(self) -> None:
        self.peer.addTrack(self.source)
        self.channel = self.peer.createDataChannel("rollcall", negotiated=True, id=0)
        self.channel.on("open", self._open.set)
        self.channel.on("message", self._message)
        if self.channel.readyState == "open":
            self._open.set()

    async def _describe(self, description: Any) -> None:
        """Set the local description, which gathers all candidates; a server that doesn't answer is given up."""
        marker = _addresses.set(("127.0.0.1",) if self._loopback else None)
        try:
            await asyncio.wait_for(self.peer.setLocalDescription(description), GATHER_SECONDS + 3)
        except TimeoutError as error:
            raise MediaFailed("The addresses of this phone couldn't be gathered in time.") from error
        finally:
            _addresses.reset(marker)

    # What comes in

    def _changed(self) -> None:
        if self.peer.connectionState == "connected":
            self._connected.set()
        elif self.peer.connectionState in {"failed", "closed"}:
            self.lost.set()

    def _track(self, track: Any) -> None:
        task = asyncio.create_task(self.recorder.listen(track))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _message(self, text: Any) -> None:
        if isinstance(text, str) and len(text) < 1024 and self._said.qsize() < 8:
            self._said.put_nowait(text)

    # Who is there

    async def confirm(self, own: str, expected: str, tell: Tell, hear: Hear) -> None:
        """Compare the peer's certificate with the sealed fingerprint, then exchange handshake hashes inside DTLS.

        Nothing is played or recorded before both hold. Raises `SecurityError` or `MediaFailed`.
        """
        await self._or_lost(self._connected.wait())
        if self._peer_fingerprint() != self._expected:
            raise SecurityError("The certificate at the other end isn't the one that was sealed.")
        await self._or_lost(self._open.wait())
        self.channel.send(json.dumps({"confirm": own}))
        said = await self._or_lost(self._said.get())
        try:
            body = json.loads(said)
            matches = isinstance(body, dict) and hmac.compare_digest(str(body.get("confirm")), expected)
        except (ValueError, TypeError, RecursionError):
            matches = False
        if not matches:
            raise SecurityError("The other end of the media took part in another handshake.")
        self.source.released = True
        self.recorder.released = True

    async def _or_lost(self, wanted: Any) -> Any:
        """What is waited for; raises when the connection breaks first, or takes too long."""
        waiting, lost = asyncio.ensure_future(wanted), asyncio.ensure_future(self.lost.wait())
        try:
            done, _ = await asyncio.wait({waiting, lost}, timeout=CONNECT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                return waiting.result()
        finally:
            waiting.cancel()
            lost.cancel()
        if self._dtls().state == "failed":
            raise SecurityError("The certificate at the other end isn't the one that was sealed.")
        raise MediaFailed("No connection between the two phones came about.")

    def _dtls(self) -> Any:
        return self.peer.getTransceivers()[0].receiver.transport

    def _peer_fingerprint(self) -> str:
        """SHA-256 of the certificate that the peer showed in DTLS, in lower-case hexadecimal."""
        certificate = self._dtls()._ssl.get_peer_certificate(as_cryptography=True)
        return str(certificate_digest(certificate, "sha-256")).replace(":", "").lower()

    async def stats(self) -> dict[str, Any]:
        """Packets received, sent and lost, and jitter in milliseconds (aiortc counts it in clock ticks of Opus)."""
        found: dict[str, Any] = {}
        for entry in (await self.peer.getStats()).values():
            if entry.type == "inbound-rtp":
                jitter = round(1000 * entry.jitter / RATE, 1)
                found |= {"received": entry.packetsReceived, "lost": entry.packetsLost, "jitter_ms": jitter}
            elif entry.type == "outbound-rtp":
                found["sent"] = entry.packetsSent
        return {**found, "recorded_seconds": round(self.recorder.written / RATE, 2)}

    async def close(self) -> None:
        self.source.stop()
        await self.peer.close()
        for task in tuple(self._tasks):
            task.cancel()
        self.recorder.close()


def maker(url: str) -> MakeMedia:
    """Real media for the phones of this base URL."""
    loopback = urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}

    def make(wish: Wish, servers: list[dict[str, Any]]) -> Connection:
        hertz = None if wish.wav else wish.tone or secrets.choice(TONES)
        source = Source(read_wav(wish.wav) if wish.wav else tone(hertz or TONES[0]))
        return Connection(source, Recorder(wish.record), servers=servers, loopback=loopback, tone=hertz)

    return make
