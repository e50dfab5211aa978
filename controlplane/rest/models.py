"""What was answered to requests that carried an `Idempotency-Key`."""

from __future__ import annotations

from django.db import models


class StoredAnswer(models.Model):
    """One answer, kept for 24 hours. Only who sends the same credential and key again can read its body."""

    digest = models.BinaryField(primary_key=True, help_text="SHA-256 of the caller's credential and key")
    request = models.BinaryField(help_text="SHA-256 of method, address and body")
    status = models.PositiveSmallIntegerField(null=True, help_text="Null while the first request is being answered")
    headers = models.JSONField(default=dict)
    sealed = models.BinaryField(default=b"", help_text="The body, sealed by a key made of credential and key")
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="stored_answer_by_age")]

    def __str__(self) -> str:
        return f"{bytes(self.digest).hex()[:12]}: {self.status}"
