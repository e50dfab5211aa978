"""Effects that must happen: one row each, written in the transaction that asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Now

KEPT = timedelta(hours=24)  # after the delivery: for the edges, which read rows as a feed, and for windows' reports


class OutboxQuerySet(models.QuerySet["Outbox"]):
    def due(self, now: datetime) -> OutboxQuerySet:
        """Rows that wait to be delivered and whose time has come, oldest first."""
        return self.filter(delivered_at__isnull=True, due_at__lte=now).order_by("due_at", "id")

    def waiting_for(self, handler: str, kinds: Sequence[str], now: datetime) -> OutboxQuerySet:
        """Of those, the ones that the handler has not taken yet and whose next try with it has come."""
        retry = Coalesce(Cast(KeyTextTransform(handler, "retry_at"), models.FloatField()), 0.0)
        rest = self.filter(kind__in=kinds).exclude(done__contains=[handler])
        return rest.alias(retry=retry).filter(retry__lte=now.timestamp())

    def waiting_by_kind(self) -> dict[str, int]:
        """How many rows of each kind have not been delivered."""
        waiting = self.filter(delivered_at__isnull=True).values_list("kind").annotate(count=models.Count("id"))
        return dict(waiting.order_by("kind"))

    def failing(self) -> OutboxQuerySet:
        """Rows that were tried in vain and wait to be tried again."""
        return self.filter(delivered_at__isnull=True, attempts__gt=0).order_by("id")


class Outbox(models.Model):
    """One effect. `key` makes it idempotent: the same effect asked for twice is one row.

    Delivered rows stay for a while: the edges read them as a feed of grant changes.
    """

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=64)
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(db_default=Now())
    delivered_at = models.DateTimeField(null=True)
    done = ArrayField(models.TextField(), default=list, db_default=[])  # the handlers that have taken it
    retry_at = models.JSONField(default=dict, db_default={})  # seconds since 1970, by handler that failed
    attempts = models.PositiveIntegerField(default=0, db_default=0)
    last_error = models.TextField(default="", db_default="", blank=True)

    objects = OutboxQuerySet.as_manager()

    class Meta:
        verbose_name = "effect"
        verbose_name_plural = "effects"
        indexes = [
            models.Index(fields=["due_at", "id"], name="outbox_waiting", condition=models.Q(delivered_at__isnull=True)),
            models.Index(fields=["created_at"], name="outbox_feed"),
        ]

    def __str__(self) -> str:
        return self.key
