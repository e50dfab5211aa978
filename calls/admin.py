"""Calls in the console: without content, addresses or numbers."""

from __future__ import annotations

from django.contrib import admin

from calls.models import CallRecord
from controlplane.accounts.readonly import OnlyShown


@admin.register(CallRecord)
class CallAdmin(OnlyShown):
    list_display = ("created_at", "feature", "area", "media", "ended_as", "brings", "lasted")
    list_filter = ("feature", "area", "state", "reason", "activating")
    list_before_template = "console/lists/calls.html"
    fields = ("id", "feature", "area", "media", "activating", "state", "reason", "cause", "created_at", "rang_at",
              "accepted_at", "connected_at", "ended_at")  # fmt: skip

    @admin.display(description="Ended as", ordering="reason")
    def ended_as(self, call: CallRecord) -> str:
        words = call.reason.replace("_", " ") if call.reason else call.state
        return f"{words} ({call.cause})" if call.cause else words

    @admin.display(description="Activates", ordering="activating")
    def brings(self, call: CallRecord) -> str:
        """Whether it turned the feature on for the person called; an ordinary call has nothing wrong with it."""
        return "yes" if call.activating else "–"

    @admin.display(description="Talked for")
    def lasted(self, call: CallRecord) -> str:
        if call.connected_at is None:
            return "–"
        return "still running" if call.ended_at is None else f"{(call.ended_at - call.connected_at).seconds:,} s"
