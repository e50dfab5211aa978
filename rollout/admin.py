"""Features, waves, windows and areas in the console: lists, forms and live panels. Every write is an action's."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin

from controlplane.accounts.readonly import OnlyShown
from controlplane.accounts.roles import Role, has_role
from controlplane.audit.models import ActorKind
from controlplane.audit.record import Actor
from controlplane.refusal import Refusal
from rollout.actions import areas, features, waves, windows
from rollout.models import Area, Feature, Grant, Wave, Window
from rollout.overview import area_row, feature_row
from rollout.rules.standing import share_words

SIGNS = {"on": "steady", "off": "waiting", "killed": "stopped", "open": "moving", "held": "held", "draft": "waiting",
         "done": "steady", "scheduled": "waiting", "closed": "steady", "ramp": "moving", "hold": "held",
         "unknown": "held", "active": "steady", "frozen": "held", "revoked": "stopped"}  # fmt: skip


def pill(state: str, words: str = "") -> str:
    """A sign, a word and a colour."""
    return format_html('<span class="rc-tone rc-tone-{}">{}</span>', SIGNS.get(state, "waiting"), words or state)


def actor_of(request: HttpRequest) -> Actor:
    return Actor(ActorKind.OPERATOR, request.user.get_username())


class ByActions(ModelAdmin):
    """Rows that only actions write. A refusal of an action stands above the form, and nothing is stored."""

    list_per_page = 50
    actions = None
    show_full_result_count = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.VIEWER)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.VIEWER)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return has_role(request.user, Role.OPERATOR)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.OPERATOR)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except Refusal as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(request.get_full_path())
        return answer

    def log_addition(self, request: HttpRequest, *args: Any) -> None:
        """Our audit is the record; Django's own log would be a second one."""

    def log_change(self, request: HttpRequest, *args: Any) -> None:
        """As above."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The action has stored everything already."""


class ReasonedForm(ModelForm):  # type: ignore[type-arg]
    """A form whose change is explained. The reason stands in the audit."""

    why = forms.CharField(
        label="Why", required=False, max_length=500, help_text="Stands in the audit.", widget=forms.TextInput
    )

    def changes(self) -> dict[str, Any]:
        """What was changed, without the why."""
        return {name: self.cleaned_data[name] for name in self.changed_data if name != "why"}


def style(form: Any) -> None:
    """Our own fields look as Unfold's do."""
    from unfold.widgets import UnfoldAdminTextInputWidget

    if "why" in form.base_fields:
        form.base_fields["why"].widget = UnfoldAdminTextInputWidget()


class Reasoned(ByActions):
    form = ReasonedForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody is asked why on a page that only shows."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets[:-1] if obj and not self.has_change_permission(request, obj) else fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        style(made)
        return made


class FeatureForm(ReasonedForm):
    class Meta:
        model = Feature
        fields = "__all__"

    def clean_variants(self) -> Any:
        value = self.cleaned_data["variants"]
        if not isinstance(value, dict):
            raise ValidationError('Write an object of names and values, such as {"on": true, "off": false}.')
        return value

    def clean_rules(self) -> Any:
        value = self.cleaned_data["rules"]
        if not isinstance(value, list):
            raise ValidationError("Write a list of rules; an empty list is [].")
        return value


@admin.register(Feature)
class FeatureAdmin(Reasoned):
    form = FeatureForm
    list_display = ("named", "switched", "access_words", "people", "verdict")
    list_display_links = ("named",)
    search_fields = ("key", "name")
    list_before_template = "console/lists/features.html"
    change_form_outer_before_template = "console/before/feature.html"
    fieldsets = (
        ("What it is", {"fields": ("key", "name", "description", "owner", "visible_to_phones")}),
        ("Who can have it", {"fields": ("requirements", "prerequisites", "rules")}),
        ("Values", {"fields": ("kind", "variants", "default_variant", "off_variant"), "classes": ("collapse",)}),
        ("", {"fields": ("why",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key", "kind") if obj else ()

    @admin.display(description="Feature", ordering="key")
    def named(self, feature: Feature) -> str:
        return format_html("{} <code>{}</code>", feature.name, feature.key)

    @admin.display(description="Switch", ordering="switch")
    def switched(self, feature: Feature) -> str:
        return pill(feature.switch, feature.switch.capitalize())

    @admin.display(description="Access", ordering="access")
    def access_words(self, feature: Feature) -> str:
        return feature.get_access_display().split(":")[0]

    @admin.display(description="People who hold it")
    def people(self, feature: Feature) -> str:
        return f"{Grant.objects.live().filter(feature=feature).count():,}"

    @admin.display(description="How it stands")
    def verdict(self, feature: Feature) -> str:
        return feature_row(feature, timezone.now()).standing.verdict

    def save_model(self, request: HttpRequest, obj: Feature, form: Any, change: bool) -> None:
        values, now = form.changes(), timezone.now()
        reason = form.cleaned_data.get("why", "")
        if change:
            features.change_feature(obj.key, changes=values, actor=actor_of(request), reason=reason, now=now)
        else:
            fields = {name: value for name, value in form.cleaned_data.items() if name in features.CHANGEABLE}
            made = features.create_feature(
                obj.key,
                name=fields.pop("name"),
                kind=form.cleaned_data["kind"],
                fields=fields,
                actor=actor_of(request),
                reason=reason,
                now=now,
            )
            obj.pk = made.pk


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

    @admin.display(description="State", ordering="state")
    def state_words(self, area: Area) -> str:
        return pill(area.state, area.get_state_display().split(":")[0])

    @admin.display(description="Load")
    def load(self, area: Area) -> str:
        row = area_row(area, timezone.now())
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
        return str(grant.subscriber) if grant.subscriber else "a deleted subscriber"

    @admin.display(description="State", ordering="state")
    def state_words(self, grant: Grant) -> str:
        return pill(grant.state, grant.get_state_display())
