"""The console's own pages: overview, explain, invite tree, granting people, and the confirmation of a verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme

from calls.console import running_by_feature
from controlplane.accounts.roles import Role, has_role
from controlplane.base.refusal import Refusal
from controlplane.console import panels
from controlplane.console.verbs import KINDS, find
from rollout.console.forms import actor_of
from rollout.console.verbs import Verb
from rollout.models import Feature

View = Callable[..., HttpResponse]


def is_partial(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def page(role: Role) -> Callable[[View], View]:
    """Only for operators with the role. A part of a page whose session is over reloads the whole page instead."""

    def decorate(view: View) -> View:
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not has_role(request.user, role):
                raise PermissionDenied(f"This takes the role {role}, which an admin can give you.")
            return view(request, *args, **kwargs)

        guarded = admin.site.admin_view(checked)

        def entry(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if is_partial(request) and not admin.site.has_permission(request):
                return HttpResponse(status=204, headers={"HX-Refresh": "true"})
            answer: HttpResponse = guarded(request, *args, **kwargs)
            return answer

        return entry

    return decorate


def shown(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return render(request, template, {**admin.site.each_context(request), "title": title, **context})


@page(Role.VIEWER)
def overview(request: HttpRequest) -> HttpResponse:
    context = {**panels.overview(timezone.now()), "page": reverse("console:overview")}
    if is_partial(request):
        return render(request, "console/_overview.html", context)
    return shown(request, "console/overview.html", "Overview", **context)


@page(Role.VIEWER)
def panel(request: HttpRequest, kind: str, id: str) -> HttpResponse:
    if kind not in panels.PANELS:
        raise Http404
    thing = get_object_or_404(panels.PANELS[kind][0], pk=id)
    return HttpResponse(panels.render(request, kind, thing))


def _next(request: HttpRequest, kind: str, id: str) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}):
        return wanted
    return reverse(KINDS[kind].page, args=[id])


def _form(verb: Verb, thing: Any, data: Any = None) -> Any:
    initial = {"access": thing.access} if isinstance(thing, Feature) else None
    return verb.form(data, initial=initial)


@page(Role.OPERATOR)
def do(request: HttpRequest, kind: str, id: str, verb: str) -> HttpResponse:
    """GET shows what the verb will do; POST does it, and says so on the page that one came from."""
    if kind not in KINDS or (found := find(kind, verb)) is None:
        raise Http404
    thing = get_object_or_404(KINDS[kind].model, pk=id)
    after = _next(request, kind, id)
    refused = "" if found.offered(thing) else f"This is not possible any more: the {KINDS[kind].noun} has changed."
    form = _form(found, thing, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid() and not refused:
        try:
            said = found.act(thing, actor=actor_of(request), now=timezone.now(), data=form.cleaned_data)
        except Refusal as refusal:
            refused = refusal.detail
        else:
            _confirm(request, said, kind, id, found, after)
            if is_partial(request):
                return HttpResponse(status=204, headers={"HX-Redirect": after})
            return HttpResponseRedirect(after)
    running = running_by_feature(timezone.now()).get(getattr(thing, "key", ""), 0) if kind == "feature" else 0
    context = {
        "verb": found, "thing": thing, "kind": kind, "noun": KINDS[kind].noun, "form": form, "next": after,
        "refused": refused, "preview": [line for line in found.preview(thing, running) if line],
        "action": reverse("console:do", args=[kind, id, verb]),
    }  # fmt: skip
    if is_partial(request):
        return render(request, "console/_do.html", context)
    status = 409 if refused else 200
    answer = shown(request, "console/do.html", f"{found.label.rstrip('…')}: {thing}", **context)
    answer.status_code = status
    return answer


def _confirm(request: HttpRequest, said: str, kind: str, id: str, verb: Verb, after: str) -> None:
    """What happened, with a way back where there is one."""
    undo = find(kind, verb.undo) if verb.undo else None
    if undo is None:
        messages.success(request, said)
        return
    address = f"{reverse('console:do', args=[kind, id, undo.key])}?next={after}"
    link = format_html('{} <a class="rc-undo" href="{}" data-dialog>{}</a>', said, address, undo.label)
    messages.success(request, link)
