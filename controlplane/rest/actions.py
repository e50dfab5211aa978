"""Answers to requests with an `Idempotency-Key`: claimed, kept, found again, forgotten after 24 hours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from nacl.secret import SecretBox

from controlplane.base.refusal import Refusal
from controlplane.rest.models import StoredAnswer

KEPT = timedelta(hours=24)


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"
    status = 422
    title = "This idempotency key was used for something else"


@dataclass(frozen=True, slots=True)
class Question:
    """A request as far as repeating it goes. `secret` is what only the caller knows: credential and key."""

    secret: bytes = field(repr=False)
    request: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(b"rollcall idempotency v1\x00" + self.secret).digest()

    @property
    def box(self) -> SecretBox:
        return SecretBox(hashlib.blake2b(self.secret, digest_size=32, person=b"stored answer").digest())


@dataclass(frozen=True, slots=True)
class Kept:
    status: int
    headers: Mapping[str, str]
    body: bytes


def find(question: Question, *, now: datetime) -> Kept | None:
    """What was answered before. Raises `IdempotencyKeyReused`."""
    row = StoredAnswer.objects.filter(digest=question.digest, created_at__gt=now - KEPT).first()
    return _kept(row, question, row.status) if row and row.status else None


@transaction.atomic
def claim(question: Question, *, now: datetime) -> Kept | None:
    """None when this request is the first with its key, and then it alone answers until its transaction ends: the same
    key waits for that. Otherwise what was answered. Raises `IdempotencyKeyReused`.
    """
    StoredAnswer.objects.filter(digest=question.digest, created_at__lte=now - KEPT).delete()
    mine = StoredAnswer(digest=question.digest, request=question.request, created_at=now)
    StoredAnswer.objects.bulk_create([mine], ignore_conflicts=True)
    row = StoredAnswer.objects.select_for_update().get(digest=question.digest)
    return _kept(row, question, row.status) if row.status else None  # only one's own claim is seen without its answer


def keep(question: Question, answer: Kept, *, now: datetime) -> None:
    """From now on the same question gets this answer."""
    StoredAnswer.objects.update_or_create(
        digest=question.digest,
        defaults={
            "request": question.request,
            "status": answer.status,
            "headers": dict(answer.headers),
            "sealed": bytes(question.box.encrypt(answer.body)),
            "created_at": now,
        },
    )


def _kept(row: StoredAnswer, question: Question, status: int) -> Kept:
    if bytes(row.request) != question.request:
        raise IdempotencyKeyReused(
            "This Idempotency-Key came with another request before. Make a new key for every new request."
        )
    return Kept(status, row.headers, bytes(question.box.decrypt(bytes(row.sealed))))
