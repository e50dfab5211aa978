"""The history of rulesets in the console: shown only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from controlplane.accounts.readonly import OnlyShown
from rollout.models import Ruleset
from rollout.questions.rulesets import history


@admin.register(Ruleset)
class RulesetAdmin(OnlyShown):
    list_display = ("version", "published_at", "published_by", "note", "size")
    list_before_template = "console/lists/rulesets.html"
    change_form_outer_before_template = "console/before/ruleset.html"
    fields = ("version", "published_at", "published_by", "note", "key_id", "size")

    def get_queryset(self, request: HttpRequest) -> Any:
        return history()

    @admin.display(description="Bytes")
    def size(self, row: Any) -> str:
        return f"{row.size:,}"
