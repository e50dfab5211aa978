"""Checking the audit trail: every entry unchanged, none missing, none cut off at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import transaction

from controlplane.audit.models import AuditEntry
from controlplane.audit.rules import chain
from controlplane.audit.rules.chain import Entry
from controlplane.audit.seal import ForgedHead, head_path, read_head


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome in numbers and words. `signed_sequence` is the head that was found signed; None before the first."""

    ok: bool
    checked: int
    unsealed: int
    signed_sequence: int | None
    bad: int | None
    words: str


def verify() -> Verification:
    """Walks the whole trail. The signed head is read first: the trail may only be longer than it says."""
    try:
        signed = read_head()
    except ForgedHead:
        words = f"{head_path()} was changed: its signature doesn't hold. Restore it, and find out who wrote it."
        return Verification(False, 0, AuditEntry.objects.filter(sequence__isnull=True).count(), None, None, words)
    with transaction.atomic():
        verdict = chain.verify(_entries(), signed)
        unsealed = AuditEntry.objects.filter(sequence__isnull=True).count()
    words = verdict.words
    if verdict.ok and unsealed:
        words += f" {unsealed} more wait to be sealed."
    if verdict.ok and signed is None:
        words += " The head has not been signed yet, so a cut-off end could not be seen."
    return Verification(
        ok=verdict.ok,
        checked=verdict.checked,
        unsealed=unsealed,
        signed_sequence=signed.sequence if signed else None,
        bad=verdict.bad,
        words=words,
    )


def _entries() -> Iterator[Entry]:
    rows = AuditEntry.objects.filter(sequence__isnull=False).order_by("sequence")
    for row in rows.iterator(chunk_size=2_000):
        yield row.as_entry()
