"""Waves, windows, areas and grants in the console: lists, forms and live panels. Every write is an action's."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from controlplane.accounts.readonly import OnlyShown
from rollout.actions import areas, waves, windows
from rollout.console.forms import Reasoned, ReasonedForm, actor_of, pill
from rollout.models import Area, Grant, Wave, Window
from rollout.questions.overview import area_rows
from rollout.rules.numbers import share_words


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


def to_page(request: HttpRequest, obj: Any, said: str) -> HttpResponse:
    """To the new thing's page, where its verbs are."""
    messages.success(request, said)
    return HttpResponseRedirect(f"../{obj.pk}/change/")


class WaveForm(ReasonedForm):
    class Meta:
        model = Wave
        fields = "__all__"
        labels = {"any_of": "Audience", "share_ppm": "Share"}
        help_texts = {
            "any_of": 'Any of several lists of clauses: [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]. '
            "An empty list means everybody.",
            "share_ppm": "Parts per million of the audience: 1000000 is everybody, 50000 is 5 %.",
        }

    def clean_any_of(self) -> Any:
        value = self.cleaned_data["any_of"]
        if not isinstance(value, list):
            example = json.dumps([[{"trait": "country", "operator": "IN", "values": ["DE"]}]])
            raise ValidationError(f"Write a list of lists of clauses, such as {example}; [] means everybody.")
        return value


@admin.register(Wave)
class WaveAdmin(Reasoned):
    form = WaveForm
    list_display = ("name", "feature", "position", "state_words", "share_of", "admitted", "still")
    list_filter = ("state", "feature")
    list_select_related = ("feature",)
    list_before_template = "console/lists/waves.html"
    change_form_outer_before_template = "console/before/wave.html"
    fieldsets = (
        ("Who is in it", {"fields": ("feature", "name", "any_of", "share_ppm")}),
        ("", {"fields": ("why",)}),
    )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # made, opened, held, resumed: by verbs

    @admin.display(description="State", ordering="state")
    def state_words(self, wave: Wave) -> str:
        return pill("held" if wave.standstill and wave.state == "open" else wave.state, wave.get_state_display())

    @admin.display(description="Share", ordering="share_ppm")
    def share_of(self, wave: Wave) -> str:
        return share_words(wave.share_ppm)

    @admin.display(description="Why")
    def still(self, wave: Wave) -> str:
        return wave.standstill or wave.held_by

    def save_model(self, request: HttpRequest, obj: Wave, form: Any, change: bool) -> None:
        data = form.cleaned_data
        made = waves.create_wave(
            obj.feature.key,
            name=data["name"],
            any_of=data["any_of"],
            share_ppm=data["share_ppm"],
            actor=actor_of(request),
            reason=data.get("why", ""),
            now=timezone.now(),
        )
        obj.pk = made.pk

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return to_page(request, obj, f"The wave “{obj.name}” is drafted. Nobody comes in before you open it.")


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
