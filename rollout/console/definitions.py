"""Features, audiences and the history of rulesets in the console. A change that moves people is shown before it is
stored: who gains, who loses, and where.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html

from controlplane.accounts.readonly import OnlyShown
from controlplane.accounts.roles import Role, has_role
from controlplane.base.refusal import Refusal
from rollout.actions import audiences, features
from rollout.console.forms import Reasoned, ReasonedForm, actor_of, pill
from rollout.errors import AudienceInvalid, FeatureInvalid
from rollout.models import Audience, Feature, Ruleset
from rollout.questions.audiences import uses, validate_audience
from rollout.questions.changes import changes_since
from rollout.questions.features import CHANGEABLE, new_feature, proposed_feature
from rollout.questions.overview import FeatureRow, feature_rows, idle_rules
from rollout.questions.preview import Preview, of_audience, of_feature
from rollout.questions.rulesets import history

DECIDING = frozenset({"requirements", "prerequisites", "rules", "variants", "default_variant", "off_variant", "any_of"})
CONFIRMED = "_confirmed"


class DefinitionForm(ReasonedForm):
    """Faults stand beside their field, with the path inside it."""

    at_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["at_revision"].initial = self.instance.revision

    @property
    def is_change(self) -> bool:
        return self.instance.pk is not None

    def clean(self) -> None:
        """Whoever changed it meanwhile isn't overwritten by what stands in an older form."""
        super().clean()
        read = self.cleaned_data.get("at_revision")
        if self.is_change and read != self.instance.revision:
            done = changes_since(self.instance, read or 0)
            self.add_error(
                None, ValidationError(f"{done} Nothing was stored: load the page again to go on from there.")
            )


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


class AudienceForm(DefinitionForm):
    class Meta:
        model = Audience
        fields = "__all__"
        labels = {"any_of": "Who is in it"}
        help_texts = {
            "any_of": "Any of several lists of clauses, each list joined by AND: "
            '[[{"trait": "country", "operator": "IN", "values": ["DE"]}]]. An empty list means everybody.'
        }

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        key = self.instance.key if self.is_change else self.cleaned_data["key"]
        try:
            validate_audience(Audience(key=key, name=self.cleaned_data["name"], any_of=self.cleaned_data["any_of"]))
        except AudienceInvalid as refusal:
            self.refuse(refusal)


class Previewed(Reasoned):
    """Asks before a change that moves people is stored."""

    def preview(self, thing: Any, changes: Mapping[str, Any]) -> Preview:
        raise NotImplementedError

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if request.method == "POST" and object_id:
            asked = self._ask(request, object_id)
            if asked is not None:
                return asked
        return super().changeform_view(request, object_id, *args, **kwargs)

    def _ask(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """The page that shows what the change would do, and asks why it widens; None when there is nothing to ask."""
        thing = self.get_object(request, unquote(object_id))
        if thing is None or not self.has_change_permission(request, thing):
            return None
        form = self.get_form(request, thing, change=True)(request.POST, instance=thing)
        if not form.is_valid() or not DECIDING & set(form.changes()):
            return None
        try:
            preview = self.preview(thing, form.changes())
        except Refusal:
            return None  # storing it meets the same refusal, and shows it
        why, confirmed = form.cleaned_data["why"], CONFIRMED in request.POST
        if not preview.moves_anybody or (confirmed and (why or not preview.widens)):
            return None
        sent = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
        context = {
            **admin.site.each_context(request),
            "title": f"Before you save: {thing}",
            "preview": preview,
            "sent": [(name, value) for name, value in sent if name not in ("csrfmiddlewaretoken", "why", CONFIRMED)],
            "confirmed": CONFIRMED,
            "why": why,
            "unanswered": confirmed,
            "back": request.path,
        }
        return TemplateResponse(request, "console/preview.html", context)


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


@admin.register(Audience)
class AudienceAdmin(Previewed):
    form = AudienceForm
    list_display = ("named", "used")
    list_display_links = ("named",)
    search_fields = ("key", "name")
    list_before_template = "console/lists/audiences.html"
    change_form_outer_before_template = "console/before/audience.html"
    fieldsets = (("", {"fields": ("key", "name", "any_of", "why", "at_revision")}),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj and not self.has_change_permission(request, obj):
            return (("", {"fields": ("key", "name", "any_of")}),)
        return self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("key",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return has_role(request.user, Role.OPERATOR)

    def preview(self, thing: Audience, changes: Mapping[str, Any]) -> Preview:
        return of_audience(thing.key, changes["any_of"], now=timezone.now())

    @admin.display(description="Audience", ordering="key")
    def named(self, audience: Audience) -> str:
        return format_html("{} <code>{}</code>", audience.name, audience.key)

    @admin.display(description="Used by")
    def used(self, audience: Audience) -> str:
        return ", ".join(uses(audience.key)) or "nothing"

    def save_model(self, request: HttpRequest, obj: Audience, form: Any, change: bool) -> None:
        about = {
            "actor": actor_of(request), "now": timezone.now(), "reason": form.cleaned_data.get("why", ""),
        }  # fmt: skip
        if change:
            audiences.change_audience(
                obj.key, changes=form.changes(), revision=form.cleaned_data["at_revision"], **about
            )
        else:
            made = audiences.create_audience(
                obj.key, name=form.cleaned_data["name"], any_of=form.cleaned_data["any_of"], **about
            )
            obj.pk = made.pk

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().delete_view(request, *args, **kwargs)
        except Refusal as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect("../change/")
        return answer

    def delete_model(self, request: HttpRequest, obj: Audience) -> None:
        audiences.delete_audience(obj.key, actor=actor_of(request), now=timezone.now(), reason="By the console")

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> None:
        """Our audit is the record."""


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
