"""The ledgers of the whole in the console: audit and outbox. Read-only for everybody."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.html import format_html

from controlplane.accounts.readonly import OnlyShown
from controlplane.accounts.roles import Role
from controlplane.audit.models import AuditEntry
from controlplane.audit.rules.words import actor_words, deed_words
from controlplane.outbox.models import Outbox


@admin.register(AuditEntry)
class AuditAdmin(OnlyShown):
    role = Role.AUDITOR
    list_display = ("at", "doer", "deed", "reason", "sealed")
    list_filter = ("actor_kind", "verb")
    search_fields = ("actor", "verb", "subject", "reason")
    list_before_template = "console/lists/audit.html"
    fields = ("at", "actor_kind", "actor", "verb", "subject", "reason", "details", "sequence", "chained")

    @admin.display(description="Who", ordering="actor")
    def doer(self, entry: AuditEntry) -> str:
        return actor_words(entry.actor_kind, entry.actor)

    @admin.display(description="What", ordering="verb")
    def deed(self, entry: AuditEntry) -> str:
        return deed_words(entry.verb, entry.subject)

    @admin.display(description="Sealed")
    def sealed(self, entry: AuditEntry) -> str:
        return f"№ {entry.sequence}" if entry.sequence is not None else "within a second"

    @admin.display(description="Detail")
    def details(self, entry: AuditEntry) -> str:
        return format_html("<pre>{}</pre>", json.dumps(entry.detail, indent=2, ensure_ascii=False, sort_keys=True))

    @admin.display(description="Digest")
    def chained(self, entry: AuditEntry) -> str:
        return bytes(entry.digest).hex() if entry.digest else "not sealed yet"


@admin.register(Outbox)
class OutboxAdmin(OnlyShown):
    list_display = ("kind", "key", "due_at", "delivered_at", "attempts", "last_error")
    list_filter = ("kind", ("delivered_at", admin.EmptyFieldListFilter))
    search_fields = ("key",)
    list_before_template = "console/lists/outbox.html"
    ordering = ("-id",)
    fields = ("kind", "key", "payload", "created_at", "due_at", "delivered_at", "attempts", "last_error")
