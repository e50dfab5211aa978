"""What the console's forms have in common: only actions write, every change may say why, and refusals are shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from controlplane.accounts.roles import Role, has_role, rights_of
from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal

SIGNS = {"on": "steady", "off": "waiting", "killed": "stopped", "open": "moving", "held": "held", "draft": "waiting",
         "done": "steady", "scheduled": "waiting", "closed": "steady", "ramp": "moving", "hold": "held",
         "unknown": "held", "active": "steady", "frozen": "held", "revoked": "stopped"}  # fmt: skip


def pill(state: str, words: str = "") -> str:
    """A sign, a word and a colour."""
    return format_html('<span class="rc-tone rc-tone-{}">{}</span>', SIGNS.get(state, "waiting"), words or state)


def actor_of(request: HttpRequest) -> Actor:
    return Actor.operator(request.user.get_username(), rights_of(request.user))


class WrittenByActions(ModelAdmin):  # type: ignore[misc]
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
            request.refusal = refusal  # type: ignore[attr-defined]  # the form that is made next says it
            answer = super().changeform_view(request, *args, **kwargs)
        return answer

    def log_addition(self, request: HttpRequest, *args: Any) -> None:
        """Our audit is the record; Django's own log would be a second one."""

    def log_change(self, request: HttpRequest, *args: Any) -> None:
        """As above."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """The action has stored everything already."""


class ReasonedForm(ModelForm):  # type: ignore[type-arg]
    """A form whose change is explained. The reason stands in the audit. What an action refused stands beside its field,
    and everything that was typed stays.
    """

    refusal: Refusal | None = None

    why = forms.CharField(
        label="Why", required=False, max_length=500, help_text="Stands in the audit.", widget=forms.TextInput
    )

    def full_clean(self) -> None:
        super().full_clean()
        if self.refusal is not None and self.is_bound:
            self.refuse(self.refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Says so beside the field that the refusal's path leads to, or above the form."""
        path = str(refusal.extra.get("path", ""))
        field = path.partition(".")[0].partition("[")[0]
        self.add_error(field if field in self.fields else None, ValidationError(refusal.detail))

    def changes(self) -> dict[str, Any]:
        """What was changed, without what only accompanies a change."""
        return {name: self.cleaned_data[name] for name in self.changed_data if name not in ("why", "at_revision")}


def style(form: Any) -> None:
    """Our own fields look as Unfold's do."""
    if "why" in form.base_fields:
        form.base_fields["why"].widget = UnfoldAdminTextInputWidget()


class Reasoned(WrittenByActions):
    form = ReasonedForm

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Nobody is asked why on a page that only shows."""
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets[:-1] if obj and not self.has_change_permission(request, obj) else fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        made = super().get_form(request, obj, change, **kwargs)
        style(made)
        made.refusal = getattr(request, "refusal", None)
        return made


def to_page(request: HttpRequest, obj: Any, said: str) -> HttpResponse:
    """To the new thing's page, where its verbs are."""
    messages.success(request, said)
    return HttpResponseRedirect(f"../{obj.pk}/change/")
