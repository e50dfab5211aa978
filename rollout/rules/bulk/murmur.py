"""MurmurHash3 (x86, 32 bits, by Austin Appleby) of many ids at once; the same hashes as `bucket` takes one by one.

Every id is hashed as the UTF-8 bytes of a prefix (the salt) and the id's text. A UUID of 16 bytes is hashed as its
canonical text: 36 characters, lower case.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import mmh3
import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]
Rows = NDArray[np.intp]

ONCE = 1 << 14  # rows whose bytes and hashes stay in the processor's cache
UUID_TEXT = 36
_C1, _C2, _M5, _N = np.uint32(0xCC9E2D51), np.uint32(0x1B873593), np.uint32(5), np.uint32(0xE6546B64)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
# Where the eight pairs of bytes of a UUID stand in its text, and the dashes.
_PAIRS = (0, 4, 9, 14, 19, 24, 28, 32)
_DASHES = (8, 13, 18, 23)


class Units(Protocol):
    """The ids of a table's rows; an empty one is somebody unknown."""

    def __len__(self) -> int: ...
    def text(self, row: int) -> str: ...
    def known(self, rows: slice) -> NDArray[np.bool_] | None:
        """Which rows have an id; None when all have."""

    def hashes(self, prefix: str, rows: Rows) -> Hashes:
        """`murmur3_32(prefix + id)` of each of these rows."""


class UuidUnits:
    """Ids as UUIDs of 16 bytes: an array of (rows, 16) bytes."""

    def __init__(self, raw: NDArray[np.uint8]) -> None:
        self._raw = np.ascontiguousarray(raw)
        self._pairs = self._raw.view("<u2")

    def __len__(self) -> int:
        return len(self._raw)

    def text(self, row: int) -> str:
        return str(UUID(bytes=self._raw[row].tobytes()))

    def known(self, rows: slice) -> None:
        return None

    def hashes(self, prefix: str, rows: Rows) -> Hashes:
        start, rest = _started(prefix.encode())
        found = np.empty(len(rows), np.uint32)
        buffer = _Buffer(rest, UUID_TEXT, min(len(rows), ONCE))
        for dash in _DASHES:
            buffer.bytes[:, len(rest) + dash] = ord("-")
        for first in range(0, len(rows), ONCE):
            some = rows[first : first + ONCE]
            pairs = self._pairs[some]
            for i, place in enumerate(_PAIRS):
                buffer.four_at(len(rest) + place, len(some))[:] = _hexadecimal()[pairs[:, i]]
            found[first : first + ONCE] = buffer.murmur(start, len(prefix.encode()) + UUID_TEXT, len(some))
        return found


class TextUnits:
    """Ids as text: fixed-width ASCII is hashed many at once, by length; anything else one by one."""

    def __init__(self, texts: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> None:
        self._texts = texts
        self._missing = missing
        self._wide = texts.dtype.kind == "U"
        self._fixed = texts.dtype.kind in "US" and texts.dtype.itemsize > 0

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, row: int) -> str:
        if self._missing is not None and self._missing[row]:
            return ""
        return _as_unit(self._texts[row])

    def known(self, rows: slice) -> NDArray[np.bool_]:
        texts = self._texts[rows]
        if self._fixed:
            present = texts != texts.dtype.type()
        else:
            present = np.fromiter((bool(_as_unit(each)) for each in texts), np.bool_, len(texts))
        return np.asarray(present if self._missing is None else present & ~self._missing[rows])

    def hashes(self, prefix: str, rows: Rows) -> Hashes:
        found = np.empty(len(rows), np.uint32)
        for first in range(0, len(rows), ONCE):
            some = self._texts[rows[first : first + ONCE]]
            found[first : first + ONCE] = self._hash(prefix, some)
        return found

    def _hash(self, prefix: str, texts: NDArray[Any]) -> Hashes:
        letters = self._letters(texts)
        if letters is None:
            return np.fromiter((mmh3.hash(prefix + _as_unit(t), 0, False) for t in texts), np.uint32, len(texts))
        start, rest = _started(prefix.encode())
        found = np.empty(len(texts), np.uint32)
        lengths = letters.shape[1] - (letters[:, ::-1] != 0).argmax(axis=1)
        lengths[~letters.any(axis=1)] = 0
        for length in np.unique(lengths):
            these = np.flatnonzero(lengths == length)
            buffer = _Buffer(rest, int(length), len(these))
            buffer.bytes[:, len(rest) : len(rest) + length] = letters[these, :length]
            found[these] = buffer.murmur(start, len(prefix.encode()) + int(length), len(these))
        return found

    def _letters(self, texts: NDArray[Any]) -> NDArray[np.uint8] | None:
        """One byte for each character, when all are ASCII; None otherwise."""
        if not self._fixed:
            return None
        width = texts.dtype.itemsize // (4 if self._wide else 1)
        plain = np.ascontiguousarray(texts.astype(texts.dtype.newbyteorder("=")))
        letters: NDArray[np.uint32] = np.asarray(plain.view(np.uint32 if self._wide else np.uint8), np.uint32)
        if (letters > 127).any():
            return None
        return letters.astype(np.uint8).reshape(len(texts), width)


class NoUnits:
    """A table of people without ids: no share covers anybody."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def text(self, row: int) -> str:
        return ""

    def known(self, rows: slice) -> NDArray[np.bool_]:
        return np.zeros(len(range(*rows.indices(self._size))), np.bool_)

    def hashes(self, prefix: str, rows: Rows) -> Hashes:
        return np.full(len(rows), mmh3.hash(prefix, 0, False), np.uint32)


def _as_unit(raw: Any) -> str:
    if isinstance(raw, bytes):
        return raw.decode()
    return str(raw) if isinstance(raw, str | UUID) else ""


class _Buffer:
    """The bytes to hash, a row each: what the prefix left over, then the id, filled up with zeros to whole words."""

    def __init__(self, rest: bytes, width: int, rows: int) -> None:
        self._width = -(-(len(rest) + width) // 4) * 4
        self.bytes = np.zeros((rows, self._width), np.uint8)
        self.bytes[:, : len(rest)] = np.frombuffer(rest, np.uint8)

    def four_at(self, place: int, rows: int) -> NDArray[np.uint32]:
        """Four bytes from a place on, of each row, as a word that may be written."""
        return np.ndarray((rows,), "<u4", self.bytes, offset=place, strides=(self._width,))

    def murmur(self, start: int, length: int, rows: int) -> Hashes:
        """The hashes of `length` bytes, of which all words before this buffer have made the state `start`."""
        words = self.bytes[:rows].view("<u4")
        state, k, turned = np.full(rows, start, np.uint32), np.empty(rows, np.uint32), np.empty(rows, np.uint32)
        tail = length % 4 != 0
        for i in range(words.shape[1]):
            np.multiply(words[:, i], _C1, out=k)
            _turn(k, 15, turned)
            np.multiply(k, _C2, out=k)
            np.bitwise_xor(state, k, out=state)
            if tail and i == words.shape[1] - 1:
                break
            _turn(state, 13, turned)
            np.multiply(state, _M5, out=state)
            np.add(state, _N, out=state)
        np.bitwise_xor(state, np.uint32(length), out=state)
        for shift, factor in ((16, _F1), (13, _F2), (16, None)):
            np.right_shift(state, np.uint32(shift), out=turned)
            np.bitwise_xor(state, turned, out=state)
            if factor is not None:
                np.multiply(state, factor, out=state)
        return state


def _turn(words: NDArray[np.uint32], bits: int, spare: NDArray[np.uint32]) -> None:
    """Rotate to the left, in place."""
    np.right_shift(words, np.uint32(32 - bits), out=spare)
    np.left_shift(words, np.uint32(bits), out=words)
    np.bitwise_or(words, spare, out=words)


def _started(prefix: bytes) -> tuple[int, bytes]:
    """The state after the prefix's whole words, which are the same for everybody, and the bytes left over."""
    state, whole = 0, len(prefix) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(prefix[i : i + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        k = ((k << 15 | k >> 17) & 0xFFFFFFFF) * 0x1B873593 & 0xFFFFFFFF
        state ^= k
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & 0xFFFFFFFF
    return state, prefix[whole:]


@lru_cache(maxsize=1)
def _hexadecimal() -> NDArray[np.uint32]:
    """For every pair of bytes (little-endian) its four hexadecimal digits as a word: 256 kB."""
    digits = np.frombuffer(b"".join(f"{i:02x}".encode() for i in range(256)), "<u2").astype(np.uint32)
    pairs = np.arange(1 << 16)
    return np.asarray(digits[pairs & 0xFF] | digits[pairs >> 8] << np.uint32(16), np.uint32)
