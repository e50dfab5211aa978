"""UUID version 7 (RFC 9562): ids that sort by the time at which they were made."""

from __future__ import annotations

import os
import time
from uuid import UUID


def uuid7_from(unix_ms: int, noise: bytes) -> UUID:
    """The UUIDv7 of a moment (milliseconds since 1970, 48 bits) and 10 random bytes."""
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(noise, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def uuid7() -> UUID:
    """A new id, made now."""
    return uuid7_from(time.time_ns() // 1_000_000, os.urandom(10))
