"""Windows in the console: list, form and live panel. Every write is an action's."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rollout.actions import windows
from rollout.console.forms import Reasoned, ReasonedForm, actor_of, pill, to_page
from rollout.models import Window


class WindowForm(ReasonedForm):
    class Meta:
        model = Window
        fields = "__all__"
        labels = {"min_grant_age_seconds": "Least age of the inviter's own grant, in seconds", "root_budget": "Budget"}


WINDOW_FIELDS = (
    "name", "test", "question", "activate_on", "quota", "depth_limit", "places", "root_budget",
    "min_grant_age_seconds", "closes_at",
)  # fmt: skip


@admin.register(Window)
class WindowAdmin(Reasoned):
    form = WindowForm
    list_display = ("name", "feature", "state_words", "came_in", "ringing", "opened_at", "closed_at")
    list_filter = ("state", "feature")
    list_select_related = ("feature",)
    list_before_template = "console/lists/windows.html"
    change_form_outer_before_template = "console/before/window.html"
    fieldsets = (
        ("What it is for", {"fields": ("feature", "name", "question", "test")}),
        ("How people come in", {"fields": ("activate_on", "areas", "closes_at")}),
        ("Limits", {"fields": ("places", "quota", "depth_limit", "root_budget", "min_grant_age_seconds")}),
        ("", {"fields": ("why",)}),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a window is made, opened and closed; its terms stay what people were told

    @admin.display(description="State", ordering="state")
    def state_words(self, window: Window) -> str:
        return pill(window.state, window.get_state_display())

    @admin.display(description="Came in")
    def came_in(self, window: Window) -> str:
        return f"{window.used:,} of {window.places:,}"

    @admin.display(description="Ringing")
    def ringing(self, window: Window) -> str:
        return f"{window.pending:,}"

    def save_model(self, request: HttpRequest, obj: Window, form: Any, change: bool) -> None:
        data = form.cleaned_data
        made = windows.create_window(
            obj.feature.key,
            areas=[area.key for area in data["areas"]],
            actor=actor_of(request),
            reason=data.get("why", ""),
            now=timezone.now(),
            **{name: data[name] for name in WINDOW_FIELDS},
        )
        obj.pk = made.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return to_page(request, obj, f"The window “{obj.name}” is ready. Nobody can invite before you open it.")
