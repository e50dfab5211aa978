"""Waves in the console: list, form and live panel. Every write is an action's."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from rollout.actions import waves
from rollout.console.forms import Reasoned, ReasonedForm, actor_of, pill, to_page
from rollout.models import Wave
from rollout.rules.numbers import share_words


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
