"""The chain of audit entries: one changed bit, one missing entry, one cut-off end shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.audit.rules.chain import GENESIS, Entry, Head, digest, verify

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def chain(length: int) -> list[Entry]:
    entries, previous = [], GENESIS
    for sequence in range(1, length + 1):
        entry = Entry(
            sequence + 100,
            NOON,
            "operator",
            "olga",
            "console",
            "feature.killed",
            "feature:voice",
            "smoke",
            {"n": sequence},
        )
        previous, before = digest(entry, sequence, previous), previous
        entries.append(replace(entry, sequence=sequence, previous=before, digest=previous))
    return entries


def test_digest__of_an_entry__is_pinned() -> None:
    assert chain(1)[0].digest is not None
    assert chain(1)[0].digest.hex() == "310c55910349e1b07f9692fbeeb4bff42c3fd5086dec127c6b7c82d491ca252f"


def test_chain__untouched__holds() -> None:
    entries = chain(5)

    verdict = verify(entries, Head(3, entries[2].digest or b""))

    assert (verdict.ok, verdict.checked, verdict.head.sequence) == (True, 5, 5)


def test_chain__before_the_first_entry__holds() -> None:
    assert verify([], None).ok


@pytest.mark.parametrize(
    "change",
    [
        {"id": 999},
        {"at": NOON.replace(microsecond=1)},
        {"actor_kind": "automatic"},
        {"actor": "mallory"},
        {"channel": "rest"},
        {"verb": "feature.created"},
        {"subject": "feature:video"},
        {"reason": ""},
        {"detail": {"n": 3, "more": 1}},
        {"previous": bytes(32)},
        {"digest": bytes(32)},
    ],
)
def test_chain__with_any_field_changed__names_the_entry(change: dict[str, Any]) -> None:
    entries = chain(5)
    entries[2] = replace(entries[2], **change)

    verdict = verify(entries, None)

    assert not verdict.ok
    assert verdict.bad == change.get("id", 103)
    assert verdict.checked == 2


def test_chain__with_an_entry_missing__names_its_place() -> None:
    entries = chain(5)
    del entries[1]

    verdict = verify(entries, None)

    assert (verdict.ok, verdict.bad, verdict.checked) == (False, None, 1)
    assert "Sequence 2 is missing" in verdict.words


def test_chain__with_its_end_cut_off__shows_by_the_signed_head_only() -> None:
    entries = chain(5)
    head = Head(5, entries[4].digest or b"")

    assert verify(entries[:4], None).ok
    assert not verify(entries[:4], head).ok
    assert not verify([], head).ok


def test_chain__written_anew__shows_by_the_signed_head() -> None:
    honest, forged = chain(5), []
    previous = GENESIS
    for sequence, entry in enumerate(honest, 1):
        fake = replace(entry, actor="nobody", sequence=sequence, previous=previous)
        previous = digest(fake, sequence, previous)
        forged.append(replace(fake, digest=previous))

    assert verify(forged, None).ok
    verdict = verify(forged, Head(4, honest[3].digest or b""))
    assert (verdict.ok, verdict.bad) == (False, 104)
