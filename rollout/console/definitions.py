"""What the pages of features and audiences share: a change that moves people is shown before it is stored,
with who gains, who loses, and where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from controlplane.base.refusal import Refusal
from rollout.console.forms import Reasoned, ReasonedForm
from rollout.questions.changes import changes_since
from rollout.questions.preview import Preview

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
