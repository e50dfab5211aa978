"""The append-only record of who changed what, chained so that a change or a gap shows."""

from __future__ import annotations

from django.db import models

from controlplane.audit.rules.chain import Entry


class ActorKind(models.TextChoices):
    OPERATOR = "operator"
    API_KEY = "api_key"
    AUTOMATIC = "automatic"


class Channel(models.TextChoices):
    CONSOLE = "console"
    REST = "rest"
    COMMAND_LINE = "command_line"
    AUTOMATIC = "automatic"


class AuditEntry(models.Model):
    """One decision of an operator or of an automatic controller, written in its own transaction.

    `sequence`, `previous` and `digest` are set once, by the sealer, in commit order; until then they are null.
    A trigger refuses every other update, and every delete and truncate.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=16, choices=ActorKind.choices)
    actor = models.CharField(max_length=150)
    channel = models.CharField(max_length=16, choices=Channel.choices)
    verb = models.CharField(max_length=64)
    subject = models.CharField(max_length=200)
    reason = models.TextField(blank=True, default="")
    detail = models.JSONField(default=dict)
    sequence = models.BigIntegerField(null=True, unique=True)
    previous = models.BinaryField(null=True)
    digest = models.BinaryField(null=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["subject", "-id"], name="audit_by_subject"),
            models.Index(fields=["id"], name="audit_unsealed", condition=models.Q(sequence__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.actor} {self.verb} {self.subject}"

    def as_entry(self) -> Entry:
        """The value that the chain is made of."""
        return Entry(
            id=self.id,
            at=self.at,
            actor_kind=self.actor_kind,
            actor=self.actor,
            channel=self.channel,
            verb=self.verb,
            subject=self.subject,
            reason=self.reason,
            detail=self.detail,
            sequence=self.sequence,
            previous=None if self.previous is None else bytes(self.previous),
            digest=None if self.digest is None else bytes(self.digest),
        )
