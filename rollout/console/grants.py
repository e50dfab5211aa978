"""Grants in the console: shown only."""

from __future__ import annotations

from django.contrib import admin

from controlplane.accounts.readonly import OnlyShown
from rollout.console.forms import pill
from rollout.models import Grant


@admin.register(Grant)
class GrantAdmin(OnlyShown):
    list_display = ("person", "feature", "source", "state_words", "depth", "window", "wave", "granted_at")
    list_filter = ("feature", "source", "state")
    list_select_related = ("feature", "subscriber", "window", "wave")
    list_before_template = "console/lists/grants.html"
    change_form_outer_before_template = "console/before/grant.html"
    fields = ("feature", "subscriber", "source", "state", "wave", "window", "parent", "root", "depth", "call", "area",
              "granted_at", "granted_by")  # fmt: skip

    @admin.display(description="Who")
    def person(self, grant: Grant) -> str:
        return str(grant.subscriber) if grant.subscriber else "somebody who left"

    @admin.display(description="State", ordering="state")
    def state_words(self, grant: Grant) -> str:
        return pill(grant.state, grant.get_state_display())
