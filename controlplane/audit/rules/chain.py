"""The chain of audit entries: each digest covers its entry and the digest before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

CHAINED_AS = b"rollcall audit v1\0"
GENESIS = bytes(32)  # what the first entry follows


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it stands in the table; the three last are null until it is sealed."""

    id: int
    at: datetime
    actor_kind: str
    actor: str
    channel: str
    verb: str
    subject: str
    reason: str
    detail: Mapping[str, Any]
    sequence: int | None = None
    previous: bytes | None = None
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain as it was signed at some time."""

    sequence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain holds. `bad` is the id of the first entry that doesn't fit (None where one is missing)."""

    ok: bool
    checked: int
    head: Head
    bad: int | None
    words: str


def canonical(entry: Entry, sequence: int, previous: bytes) -> bytes:
    """The one JSON form of an entry: UTF-8, sorted members, no spaces, UTC times with microseconds."""
    value = {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor_kind": entry.actor_kind,
        "actor": entry.actor,
        "channel": entry.channel,
        "verb": entry.verb,
        "subject": entry.subject,
        "reason": entry.reason,
        "detail": entry.detail,
        "sequence": sequence,
        "previous": previous.hex(),
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(entry: Entry, sequence: int, previous: bytes) -> bytes:
    """SHA-256 of the entry in its place of the chain."""
    return hashlib.sha256(CHAINED_AS + canonical(entry, sequence, previous)).digest()


def signed_head(head: Head) -> bytes:
    """The bytes of a head that are signed."""
    return b"rollcall audit head v1\0" + head.sequence.to_bytes(8, "big") + head.digest


def verify(entries: Iterable[Entry], signed: Head | None) -> Verdict:
    """Walks the sealed entries in their sequence. The chain must hold `signed`, a head known from a second place."""
    sequence, previous = 0, GENESIS
    for entry in entries:
        fault = _fault(entry, sequence + 1, previous)
        if fault:
            bad = None if entry.sequence is not None and entry.sequence > sequence + 1 else entry.id
            return Verdict(False, sequence, Head(sequence, previous), bad, fault)
        sequence, previous = sequence + 1, entry.digest or b""
        if signed and sequence == signed.sequence and previous != signed.digest:
            words = (
                f"Entry {entry.id} (sequence {sequence}) is not the one that was signed: the chain was written anew."
            )
            return Verdict(False, sequence - 1, Head(sequence, previous), entry.id, words)
    head = Head(sequence, previous)
    if signed and signed.sequence > sequence:
        words = (
            f"The trail ends at sequence {sequence}, but sequence {signed.sequence} was signed: its end was cut off."
        )
        return Verdict(False, sequence, head, None, words)
    return Verdict(True, sequence, head, None, f"All {sequence} sealed entries fit.")


def _fault(entry: Entry, sequence: int, previous: bytes) -> str:
    """What is wrong with the entry that should stand in this place; empty if nothing is."""
    if entry.sequence != sequence:
        return f"Sequence {sequence} is missing: the next entry is {entry.id} with sequence {entry.sequence}."
    if entry.previous != previous:
        return f"Entry {entry.id} (sequence {sequence}) doesn't follow the entry before it."
    if entry.digest != digest(entry, sequence, previous):
        return f"Entry {entry.id} (sequence {sequence}) was changed after it was sealed."
    return ""
