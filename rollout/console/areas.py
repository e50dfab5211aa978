"""Areas in the console: list, form and live panel. Every write is an action's."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from rollout.actions import areas
from rollout.console.forms import Reasoned, ReasonedForm, actor_of, pill
from rollout.models import Area
from rollout.questions.overview import area_rows


class AreaForm(ReasonedForm):
    class Meta:
        model = Area
        fields = "__all__"
        labels = {
            "capacity_calls": "Capacity in calls",
            "hold_above_ppm": "Hold above",
            "resume_below_ppm": "Resume below",
            "tick_seconds": "Seconds between ticks",
            "stale_seconds": "Seconds until a measurement is stale",
        }
        help_texts = {
            "hold_above_ppm": "Parts per million of the capacity: 800000 is 80 %.",
            "resume_below_ppm": "Parts per million of the capacity: 640000 is 64 %.",
            "activations_per_minute": "How many people may come in at most, while the load allows it.",
            "countries": "ISO 3166, separated by commas: DE,AT.",
            "carriers": "MCC-MNC, separated by commas: 262-03. A carrier beats a country; neither means everywhere.",
        }


@admin.register(Area)
class AreaAdmin(Reasoned):
    form = AreaForm
    list_display = ("key", "name", "state_words", "load", "capacity_calls", "reason_words")
    list_before_template = "console/lists/areas.html"
    change_form_outer_before_template = "console/before/area.html"
    fieldsets = (
        ("Capacity", {"fields": ("capacity_calls", "hold_above_ppm", "resume_below_ppm", "activations_per_minute")}),
        ("Who belongs to it", {"fields": ("key", "name", "countries", "carriers")}),
        ("Measuring", {"fields": ("tick_seconds", "stale_seconds"), "classes": ("collapse",)}),
        ("", {"fields": ("why",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key",) if obj else ()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Each area of the page has its row, read at once."""
        shown = super().get_changelist_instance(request)
        shown.result_list = list(shown.result_list)
        for row in area_rows(timezone.now(), shown.result_list):
            row.area.row = row  # type: ignore[attr-defined]
        return shown

    @admin.display(description="State", ordering="state")
    def state_words(self, area: Area) -> str:
        return pill(area.state, area.get_state_display().split(":")[0])

    @admin.display(description="Load")
    def load(self, area: Area) -> str:
        row = area.row  # type: ignore[attr-defined]
        return "not known" if row.calls is None else f"{row.calls:,} calls, {row.load_per_cent} %"

    @admin.display(description="Why")
    def reason_words(self, area: Area) -> str:
        return area.reason

    def save_model(self, request: HttpRequest, obj: Area, form: Any, change: bool) -> None:
        reason, now = form.cleaned_data.get("why", ""), timezone.now()
        if change:
            areas.change_area(obj.key, changes=form.changes(), actor=actor_of(request), reason=reason, now=now)
            return
        fields = {name: value for name, value in form.cleaned_data.items() if name not in {"why", "key"}}
        made = areas.create_area(obj.key, actor=actor_of(request), reason=reason, now=now, **fields)
        obj.pk = made.pk
