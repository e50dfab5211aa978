"""What is inside the sealed blobs: canonical JSON, padding, the handshake's prologue, transport counters.

- A blob's plaintext is a 2-byte big-endian length, the JSON, and zeros up to the least of 256, 512, 1024, 2048 or 4096
  bytes that fits: its size tells nothing finer.
- The prologue is canonical JSON of everything that the server sees of a call; both ends must hold the same bytes. The
  numbers stand in it as each end knows them: its own, the one that was dialled (null where an account was called), and
  the one that the ring names. So a server that lies about a number breaks the handshake.
- A transport blob is an 8-byte big-endian counter and the ciphertext. A retry resends identical bytes, and `Counters`
  tells a repeated message from a new one.

Payloads: message 1 (in the invite) `{"media":"audio","caps":["opus"],"at":ms}`, by the caller's clock; message 2 (in
the accept) the offer's session fields themselves; transport messages `{"t":"answer","session":{…fields…}}`,
`{"t":"cand","cands":[…]}` (optional) and, for calls without media only, `{"t":"confirm","confirm":"…"}`. Inside the
data channel: `{"confirm":"…"}`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from calls.rules.noise_ik import Session

SIZES = (256, 512, 1024, 2048, 4096)
LIFETIME_SECONDS = 60
PROLOGUE_VERSION = 2
CONFIRM_AS = b"rollcall confirm v1"
_B64 = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class BadBlob(ValueError):
    """The bytes aren't what a phone of ours would send."""


class Role(StrEnum):
    """Who began the handshake: the caller is the initiator."""

    INITIATOR = "i"
    RESPONDER = "r"


@dataclass(frozen=True, slots=True)
class End:
    """One end of a call as the prologue binds it: subscriber id, device id, list epoch, account key, number (E.164)."""

    account: str
    device: str
    epoch: int
    key: bytes
    phone: str | None

    def as_json(self) -> dict[str, Any]:
        key = b64(self.key)
        return {"account": self.account, "device": self.device, "epoch": self.epoch, "key": key, "phone": self.phone}


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: object) -> bytes:
    """The bytes of base64url without padding, in its one right form. Raises `BadBlob`."""
    if not isinstance(text, str) or not _B64.fullmatch(text) or len(text) % 4 == 1:
        raise BadBlob("Expected base64url without padding.")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64(data) != text:
        raise BadBlob("Expected base64url without stray bits.")
    return data


def canonical(value: Any) -> bytes:
    """JSON as UTF-8 with sorted members and no spaces; the same bytes from every implementation (no fractions)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(data: bytes) -> Any:
    """Raises `BadBlob` where the bytes aren't UTF-8 JSON, or nest too deeply."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadBlob("Expected JSON.") from error


def pad(payload: Mapping[str, Any]) -> bytes:
    """The padded plaintext of a payload. Raises `BadBlob` where it doesn't fit into 4,094 bytes."""
    body = canonical(payload)
    size = next((size for size in SIZES if len(body) + 2 <= size), None)
    if size is None:
        raise BadBlob(f"A payload has at most {SIZES[-1] - 2} bytes, this one {len(body)}.")
    return (len(body).to_bytes(2, "big") + body).ljust(size, b"\0")


def unpad(padded: bytes) -> dict[str, Any]:
    """The payload of padded plaintext. Raises `BadBlob` where size, length or padding are wrong."""
    if len(padded) not in SIZES:
        raise BadBlob("A blob must be padded to a known size.")
    length = int.from_bytes(padded[:2], "big")
    if length > len(padded) - 2 or any(padded[2 + length :]):
        raise BadBlob("A blob's padding must be zeros.")
    payload = read_json(padded[2 : 2 + length])
    if not isinstance(payload, dict):
        raise BadBlob("A payload must be an object.")
    return payload


def prologue(call: str, *, caller: End, callee: End, media: str, lifetime: int = LIFETIME_SECONDS) -> bytes:
    """The bytes that bind a handshake to everything that the server sees of the call, and to both numbers."""
    return canonical(
        {
            "v": PROLOGUE_VERSION,
            "call": call,
            "caller": caller.as_json(),
            "callee": callee.as_json(),
            "media": media,
            "lifetime": lifetime,
        }
    )


def is_fresh(sealed_at: object, now: int) -> bool:
    """Whether a first message was sealed within a handshake's lifetime of `now`, before or after (ms since the epoch).

    Both times are phones' own, so no server can stretch them; clocks may differ by the lifetime. Raises `BadBlob` where
    the message names no time.
    """
    if not isinstance(sealed_at, int) or isinstance(sealed_at, bool):
        raise BadBlob("A first message must say when it was sealed.")
    return abs(now - sealed_at) <= LIFETIME_SECONDS * 1000


def seal_transport(session: Session, counter: int, payload: Mapping[str, Any]) -> bytes:
    """Counter and ciphertext of one transport message. A counter is used for one payload only."""
    return counter.to_bytes(8, "big") + session.seal(counter, pad(payload))


def open_transport(session: Session, blob: bytes) -> tuple[int, dict[str, Any]]:
    """Counter and payload of the peer's transport message. Raises `BadBlob` or `BadHandshake`."""
    if len(blob) < 8 + 16:
        raise BadBlob("A transport blob is too short.")
    counter = int.from_bytes(blob[:8], "big")
    return counter, unpad(session.unseal(counter, blob[8:]))


@dataclass(frozen=True, slots=True)
class Counters:
    """The peer's counters that were seen: the highest, and a bitmap of the 64 up to it (bit 0 is the highest)."""

    highest: int = -1
    seen: int = 0

    def is_new(self, counter: int) -> bool:
        """False for a repeat, and for what is too old to tell."""
        if counter > self.highest:
            return True
        age = self.highest - counter
        return age < 64 and not self.seen >> age & 1

    def with_(self, counter: int) -> Counters:
        if counter > self.highest:
            shift = counter - self.highest
            return Counters(counter, ((self.seen << shift if shift < 64 else 0) | 1) & (2**64 - 1))
        return Counters(self.highest, self.seen | 1 << (self.highest - counter))


def confirmation(role: Role, handshake_hash: bytes) -> str:
    """What `role` says inside DTLS to prove that both ends of the media are both ends of the handshake (base64url)."""
    return b64(hashlib.sha256(CONFIRM_AS + role.value.encode() + handshake_hash).digest())
