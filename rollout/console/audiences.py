"""Audiences in the console: list, form, and what a change would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html

from controlplane.accounts.roles import Role, has_role
from controlplane.base.refusal import Refusal
from rollout.actions import audiences
from rollout.console.definitions import DefinitionForm, Previewed
from rollout.console.forms import actor_of
from rollout.errors import AudienceInvalid
from rollout.models import Audience
from rollout.questions.audiences import uses, validate_audience
from rollout.questions.preview import Preview, of_audience


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
