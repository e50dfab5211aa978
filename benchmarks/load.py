"""A load of HTTP/1.1 requests over kept connections, light enough to keep a fast server busy from one core.

Requests are bytes made beforehand; of an answer only the status and the length are read.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Load:
    """What came of it. `spans` are seconds from sending to the last byte, `seconds` the whole time."""

    seconds: float = 0.0
    spans: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    received: int = 0  # bytes

    @property
    def rate(self) -> float:
        return len(self.spans) / self.seconds


class _Client(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], load: Load, until: float, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._load = load
        self._until = until
        self._done = done
        self._buffer = b""
        self._wanted = -1  # bytes of head and body; -1 while the head isn't whole
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        self._sent_at = time.perf_counter()
        if request is None or self._sent_at > self._until:
            self._transport.close()
            return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._wanted < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._wanted = end + 4 + length
            self._load.statuses[int(head[9:12])] += 1
        if len(self._buffer) >= self._wanted:
            self._load.spans.append(time.perf_counter() - self._sent_at)
            self._load.received += self._wanted
            self._buffer = self._buffer[self._wanted :]
            self._wanted = -1
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def run(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Each connection sends its next request when it has the last answer, until the time or the requests are over."""
    loop, load = asyncio.get_running_loop(), Load()
    start = time.perf_counter()
    done: list[asyncio.Future[None]] = []
    for _ in range(connections):
        ended = loop.create_future()
        done.append(ended)
        await loop.create_connection(
            lambda ended=ended: _Client(requests, load, start + seconds, ended),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*done)
    load.seconds = time.perf_counter() - start
    return load


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of one request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
