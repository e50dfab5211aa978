"""Features in the console: list, form, and what a change would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from rollout.actions import features
from rollout.console.definitions import DefinitionForm, Previewed
from rollout.console.forms import actor_of, pill
from rollout.errors import FeatureInvalid
from rollout.models import Feature
from rollout.questions.features import CHANGEABLE, new_feature, proposed_feature
from rollout.questions.overview import FeatureRow, feature_rows, idle_rules
from rollout.questions.preview import Preview, of_feature


class FeatureForm(DefinitionForm):
    class Meta:
        model = Feature
        fields = "__all__"

    def clean_why(self) -> str:
        why = self.cleaned_data["why"]
        if self.is_change and not why and self.data.get("visible_to_phones") and not self.instance.visible_to_phones:
            raise ValidationError("Say why: this shows the feature to phones.")
        return str(why)

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

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        try:
            if self.is_change:
                proposed_feature(self.instance.key, self.changes())
            else:
                data = {name: value for name, value in self.cleaned_data.items() if name in CHANGEABLE}
                new_feature(self.cleaned_data["key"], kind=self.cleaned_data["kind"], fields=data)
        except FeatureInvalid as refusal:
            self.refuse(refusal)


@admin.register(Feature)
class FeatureAdmin(Previewed):
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
        ("", {"fields": ("why", "at_revision")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """A new feature says at once who decides who has it; later that is a verb."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            return fieldsets
        what, who, *rest = fieldsets
        return [what, (who[0], {"fields": ("access", *who[1]["fields"])}), *rest]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key", "kind") if obj else ()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Each feature of the page has its row, read at once."""
        shown = super().get_changelist_instance(request)
        shown.result_list = list(shown.result_list)
        for row in feature_rows(timezone.now(), {}, shown.result_list):
            row.feature.row = row  # type: ignore[attr-defined]
        return shown

    def preview(self, thing: Feature, changes: Mapping[str, Any]) -> Preview:
        return of_feature(thing.key, changes, now=timezone.now())

    @admin.display(description="Feature", ordering="key")
    def named(self, feature: Feature) -> str:
        return format_html("{} <code>{}</code>", feature.name, feature.key)

    @admin.display(description="Switch", ordering="switch")
    def switched(self, feature: Feature) -> str:
        return pill(feature.switch, feature.switch.capitalize())

    @admin.display(description="Access", ordering="access")
    def access_words(self, feature: Feature) -> str:
        return feature.get_access_display().split(":")[0]

    @admin.display(description="People who have it")
    def people(self, feature: Feature) -> str:
        row: FeatureRow = feature.row  # type: ignore[attr-defined]
        if not row.is_on:
            return "0"
        return "not counted yet" if row.headcount is None else f"{row.headcount.people:,}"

    @admin.display(description="How it stands")
    def verdict(self, feature: Feature) -> str:
        return str(feature.row.standing.verdict)  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: Feature, form: Any, change: bool) -> None:
        values, now = form.changes(), timezone.now()
        reason = form.cleaned_data.get("why", "")
        if change:
            revision = form.cleaned_data["at_revision"]
            features.change_feature(
                obj.key, changes=values, actor=actor_of(request), reason=reason, revision=revision, now=now
            )
        else:
            fields = {name: value for name, value in form.cleaned_data.items() if name in CHANGEABLE}
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
        if "rules" in form.changed_data and (idle := idle_rules(Feature.objects.get(pk=obj.pk))):
            messages.warning(request, idle)
