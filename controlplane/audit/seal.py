"""Chaining entries in the order of their commits, and signing the head of the chain in a second place."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings
from django.db import OperationalError, connection, transaction
from nacl.exceptions import BadSignatureError

from controlplane.audit.models import AuditEntry
from controlplane.audit.rules.chain import GENESIS, Head, digest, signed_head
from controlplane.base.files import write_whole

log = structlog.get_logger(__name__)

# Every insert holds this advisory lock, shared, until its transaction ends (a trigger takes it: migration 0002).
# Who holds it alone therefore sees every entry that anybody has been given an id for.
TURN = 0x726F6C6C  # "roll"
MOST_AT_ONCE = 5_000
IMPATIENT_AFTER = timedelta(seconds=10)


def seal(now: datetime) -> int:
    """Chains the entries that were committed since the last time. Returns how many; 0 when it is not the moment.

    Writers are never made to wait for a writer that takes long: the sealer only tries, and once an entry has waited
    for 10 s it queues for at most half a second.
    """
    with transaction.atomic():
        if not _alone(now):
            return 0
        last = AuditEntry.objects.filter(sequence__isnull=False).order_by("-sequence").first()
        sequence = (last.sequence or 0) if last else 0
        previous = bytes(last.digest or b"") if last else GENESIS
        waiting = list(AuditEntry.objects.filter(sequence__isnull=True).order_by("id")[:MOST_AT_ONCE])
        for row in waiting:
            sequence += 1
            row.sequence, row.previous = sequence, previous
            previous = row.digest = digest(row.as_entry(), sequence, previous)
        AuditEntry.objects.bulk_update(waiting, ["sequence", "previous", "digest"], batch_size=500)
    return len(waiting)


def sign_head(now: datetime) -> Head | None:
    """Signs the head and writes it to the data folder, in one piece. None before the first entry.

    None too, and nothing written, unless the trail still holds the head that was signed before: signing what is left of
    a trail would destroy the proof that something was cut off or written anew.
    """
    last = AuditEntry.objects.filter(sequence__isnull=False).order_by("-sequence").first()
    if not _holds_signed_head():
        todo = "run manage.py audit verify; after restoring a backup on purpose, move the file away"
        log.error("audit.head_refused", file=str(head_path()), todo=todo)
        return None
    if last is None or last.sequence is None:
        return None
    head = Head(last.sequence, bytes(last.digest or b""))
    signature = settings.KEYS.audit.sign(signed_head(head)).signature
    value = {
        "sequence": head.sequence,
        "digest": head.digest.hex(),
        "signature": signature.hex(),
        "at": now.isoformat(),
    }
    write_whole(head_path(), json.dumps(value).encode() + b"\n")
    return head


def head_path() -> Path:
    """The second place: outside of the database."""
    return Path(settings.ENV.state) / "audit-head.json"


def read_head() -> Head | None:
    """The head that was signed last, None before the first. Raises ForgedHead unless its signature holds."""
    try:
        value = json.loads(head_path().read_text(encoding="ascii"))
        head = Head(int(value["sequence"]), bytes.fromhex(value["digest"]))
        settings.KEYS.audit.verify_key.verify(signed_head(head), bytes.fromhex(value["signature"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OverflowError, BadSignatureError) as error:
        raise ForgedHead from error
    return head


class ForgedHead(Exception):
    """The file of the signed head was changed by somebody else."""


def _holds_signed_head() -> bool:
    try:
        signed = read_head()
    except ForgedHead:
        return False
    if signed is None:
        return True
    entry = AuditEntry.objects.filter(sequence=signed.sequence).first()
    return entry is not None and bytes(entry.digest or b"") == signed.digest


def _alone(now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [TURN])
        if cursor.fetchone()[0]:
            return True
        oldest = AuditEntry.objects.filter(sequence__isnull=True).order_by("id").values_list("at", flat=True).first()
        if oldest is None or now - oldest < IMPATIENT_AFTER:
            return False
        try:
            with transaction.atomic():
                cursor.execute("SET LOCAL lock_timeout = '500ms'")
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [TURN])
        except OperationalError:
            log.warning("audit.waits", why="a transaction that writes the audit has been open for long")
            return False
        cursor.execute("SET LOCAL lock_timeout = DEFAULT")
    return True
