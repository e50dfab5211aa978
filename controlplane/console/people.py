"""The console's pages about one person or a few: explain, invite tree, granting, a new API key."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from controlplane.accounts.models import Subscriber
from controlplane.accounts.roles import Role
from controlplane.actions import keys
from controlplane.base.refusal import Refusal
from controlplane.console.views import page, shown
from controlplane.rest.subscribers import find_subscriber, find_subscribers
from rollout.actions import grants
from rollout.console.forms import actor_of
from rollout.models import Feature, Grant
from rollout.questions.explain import explain as explained
from rollout.questions.invite_tree import Branch, invite_roots, invite_tree, live_grant
from rollout.rules.decision.trace import told
from rollout.rules.numbers import have_words


def _features() -> list[tuple[str, str]]:
    return [(feature.key, feature.name) for feature in Feature.objects.all()]


class ExplainForm(forms.Form):
    subscriber = forms.CharField(label="Phone number or subscriber id", max_length=64)
    feature = forms.ChoiceField(label="Feature", choices=_features)
    callee = forms.CharField(label="Calling whom", required=False, max_length=64)


@page(Role.VIEWER)
def explain(request: HttpRequest) -> HttpResponse:
    """Why somebody has a feature or not, step by step, and the last invites that were refused."""
    asked = "subscriber" in request.GET
    form = ExplainForm(request.GET if asked else None, initial={"feature": request.GET.get("feature")})
    found: dict[str, Any] | None = None
    refused = ""
    person = None
    if asked and form.is_valid():
        try:
            person = find_subscriber(form.cleaned_data["subscriber"])
            callee = find_subscriber(form.cleaned_data["callee"]) if form.cleaned_data["callee"] else None
            found = explained(person, form.cleaned_data["feature"], callee=callee, now=timezone.now())
            found["steps"] = [
                (step["step"], step["decided"], told(step["step"], step["seen"])) for step in found["trace"]
            ]
        except Refusal as refusal:
            refused = refusal.detail
    context = {"form": form, "found": found, "refused": refused, "person": person}
    return shown(request, "console/explain.html", "Explain", **context)


class TreeForm(forms.Form):
    feature = forms.ChoiceField(label="Feature", choices=_features)
    root = forms.CharField(label="Phone number or subscriber id", required=False, max_length=64)


@page(Role.VIEWER)
def tree(request: HttpRequest) -> HttpResponse:
    """The branch below a person, and the largest branches to choose from."""
    keys_known = [key for key, _ in _features()]
    key = request.GET.get("feature") or (keys_known[0] if keys_known else "")
    form = TreeForm({"feature": key, "root": request.GET.get("root", "")} if key else None)
    refused, branch = "", None
    inviters: list[Grant] = []
    roots: list[tuple[Grant, int]] = []
    feature = Feature.objects.filter(key=key).first()
    if feature is not None and form.is_valid():
        roots = invite_roots(feature)
        try:
            branch, inviters = _branch(feature, form.cleaned_data["root"], roots)
        except Refusal as refusal:
            refused = refusal.detail
    context = {"form": form, "refused": refused, "branch": branch, "inviters": inviters, "roots": roots,
               "feature": feature}  # fmt: skip
    return shown(request, "console/tree.html", "Invite tree", **context)


def _branch(feature: Feature, named: str, roots: list[tuple[Grant, int]]) -> tuple[Branch | None, list[Grant]]:
    """The branch below the named person (or the largest one), and the chain of those who brought them in."""
    if not named:
        return (invite_tree(roots[0][0]), []) if roots else (None, [])
    grant = live_grant(feature, find_subscriber(named))
    if grant is None:
        return None, []
    chain: list[Grant] = []
    above = grant.parent
    while above is not None and len(chain) < 100:
        chain.insert(0, above)
        above = above.parent
    return invite_tree(grant), chain


class GrantForm(forms.Form):
    feature = forms.ChoiceField(label="Feature", choices=_features)
    people = forms.CharField(
        label="Phone numbers or subscriber ids",
        help_text="One a line, or separated by commas; at most 1,000.",
        widget=forms.Textarea(attrs={"rows": 5}),
    )
    reason = forms.CharField(label="Why (stands in the audit)", max_length=500)


def _granted(given: grants.Given) -> str:
    new, already = len(given.grants), len(given.already)
    had = f" {have_words(already)} one already." if already else ""
    told = given.ignored or "Their phones are told."
    return f"{have_words(new)} a grant from now on.{had} {told}"


@page(Role.OPERATOR)
def grant(request: HttpRequest) -> HttpResponse:
    """Grant a feature to people by number or id. Either all of them are found, or nobody is granted."""
    data = request.POST if request.method == "POST" else None
    form = GrantForm(data, initial={"feature": request.GET.get("feature"), "people": request.GET.get("people", "")})
    refused = ""
    if request.method == "POST" and form.is_valid():
        named = [word for word in re.split(r"[\n,;]+", form.cleaned_data["people"]) if word.strip()]
        try:
            people: list[Subscriber] = find_subscribers(named)
            made = grants.grant_people(
                form.cleaned_data["feature"],
                subscribers=[person.pk for person in people],
                actor=actor_of(request),
                reason=form.cleaned_data["reason"],
                now=timezone.now(),
            )
        except Refusal as refusal:
            refused = refusal.detail
        else:
            messages.success(request, _granted(made))
            feature = Feature.objects.get(key=form.cleaned_data["feature"])
            return HttpResponseRedirect(reverse("admin:rollout_feature_change", args=[feature.pk]))
    return shown(request, "console/grant.html", "Grant people", form=form, refused=refused)


class KeyForm(forms.Form):
    name = forms.CharField(label="What it is for", max_length=100)
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        choices=[
            ("evaluate", "Evaluate: ask what somebody has (OFREP)"),
            ("read", "Read: everything that operators see"),
            ("operate", "Operate: every verb"),
            ("audit", "Audit: read the audit"),
        ],
        widget=forms.CheckboxSelectMultiple,
    )
    expires_at = forms.DateTimeField(
        label="Until when (UTC)",
        required=False,
        help_text="Empty: until somebody revokes it.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )

    def clean_expires_at(self) -> datetime | None:
        at: datetime | None = self.cleaned_data["expires_at"]
        if at is not None and at <= timezone.now():
            raise forms.ValidationError("A key ends in the future.")
        return at


@page(Role.OPERATOR)
def new_key(request: HttpRequest) -> HttpResponse:
    """Make an API key; the answer is the only page that ever shows it."""
    form = KeyForm(request.POST if request.method == "POST" else None)
    made, refused = "", ""
    if request.method == "POST" and form.is_valid():
        now, actor = timezone.now(), actor_of(request)
        try:
            made, _ = keys.issue(**form.cleaned_data, actor=actor, now=now)
        except Refusal as refusal:
            refused = refusal.detail
    return shown(request, "console/new_key.html", "New API key", form=form, made=made, refused=refused)
