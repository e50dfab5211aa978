"""What is recorded of calls: pseudonymous, without content, addresses or numbers."""

from __future__ import annotations

from django.db import models


class CallRecord(models.Model):
    """One call, journaled by the edge. Parties are keyed hashes that change each month."""

    id = models.UUIDField(primary_key=True, editable=False)
    feature = models.CharField(max_length=64)
    area = models.CharField(max_length=64)
    caller = models.BinaryField()
    callee = models.BinaryField()
    media = models.CharField(max_length=8)
    activating = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=16)
    reason = models.CharField(max_length=24, blank=True, default="", db_default="")
    cause = models.CharField(max_length=32, blank=True, default="", db_default="")
    created_at = models.DateTimeField()
    rang_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    connected_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        verbose_name = "call"
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["-created_at"], name="call_by_time"),
            models.Index(fields=["area", "-created_at"], name="call_by_area"),
        ]

    def __str__(self) -> str:
        return f"{self.media} call, {self.reason or self.state}"
