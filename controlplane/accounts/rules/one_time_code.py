"""One-time codes: what is stored of one, and whether a guess is it."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from uuid import UUID

DIGITS = 6
LIFETIME = timedelta(minutes=10)
MOST_TRIES = 5


def as_digits(number: int) -> str:
    """The code of a random number below 10^6: six digits, leading zeros kept."""
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def code_hash(code: str, challenge: UUID, key: bytes) -> bytes:
    """Keyed BLAKE2b-256, bound to its challenge, so that equal codes of two challenges don't show."""
    return hashlib.blake2b(
        challenge.bytes + code.encode(), key=key, digest_size=32, person=b"rollcall code v1"
    ).digest()


def is_code(guess: str, challenge: UUID, key: bytes, expected: bytes) -> bool:
    """Whether the guess hashes to `expected`; the time it takes doesn't tell how near it was."""
    return hmac.compare_digest(code_hash(guess, challenge, key), expected)
