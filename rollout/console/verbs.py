"""The verbs of features, windows, waves and grants as the console offers them: what each does, and its action.

An edge: each verb reads a form, calls one action and says what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal
from rollout.actions import definitions, features, grants, waves, windows
from rollout.models import Access, Feature, Grant, Ruleset, Wave, Window, labels
from rollout.questions.definitions import plan
from rollout.questions.headcounts import headcounts, wave_size
from rollout.questions.overview import area_rows, ignored_by
from rollout.questions.preview import of_feature
from rollout.questions.rulesets import document_of
from rollout.rules.decision.grant import LIVE
from rollout.rules.definition.bucket import MILLION
from rollout.rules.numbers import calls_words, have_words, people_words, share_words
from rollout.rules.ruleset.definitions import of_published

Act = Callable[..., str]
AREAS_TOLD = 3  # in a dialog


class ReasonForm(forms.Form):
    """Narrowing needs no reason: nobody should have to type while calls go wrong."""

    reason = forms.CharField(
        label="Why (stands in the audit)",
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "In a few words"}),
    )


class WideningForm(ReasonForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = True


class KillForm(ReasonForm):
    field_order = ("end_calls", "reason")
    end_calls = forms.TypedChoiceField(
        label="What happens to running calls",
        choices=[("no", "They may finish: only stop new calls"), ("yes", "End them too")],
        coerce=lambda word: word == "yes",
        initial="no",
        widget=forms.RadioSelect,
    )


class AccessForm(WideningForm):
    field_order = ("access", "reason")
    access = forms.ChoiceField(label="Who may have it", choices=labels.ACCESS, widget=forms.RadioSelect)


@dataclass(frozen=True, slots=True)
class Verb:
    """`preview` says with numbers what will happen; `act` does it and says what happened. `undo` names a verb."""

    key: str
    label: str
    tone: str
    offered: Callable[[Any], bool]
    preview: Callable[[Any, int], list[str]]
    act: Act
    form: type[forms.Form] = ReasonForm
    undo: str = ""


def _holders(feature: Feature) -> int:
    return Grant.objects.live().filter(feature=feature).count()


def _having(feature: Feature) -> str:
    """How many people have the feature while it is on, in words."""
    count = headcounts([feature], timezone.now()).get(feature.key)
    if count is None:
        return "People whom nobody has counted yet have"
    return ("about " if count.how else "") + have_words(count.people)


def _feature_verb(action: Callable[..., Any], words: str) -> Act:
    def act(thing: Feature, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
        action(thing.key, actor=actor, reason=data["reason"], now=now)
        return words.format(thing.name)

    return act


def _kill(thing: Feature, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    features.kill(thing.key, end_calls=data["end_calls"], actor=actor, reason=data["reason"], now=now)
    return f"{thing.name} is killed: nobody can call{', and running calls end' if data['end_calls'] else ''}."


def _set_access(thing: Feature, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    features.set_access(thing.key, access=Access(data["access"]), actor=actor, reason=data["reason"], now=now)
    return f"{thing.name}: access is now “{dict(labels.ACCESS)[data['access']]}”."


def _running(count: int) -> str:
    return f"{calls_words(count).capitalize()} {'runs' if count == 1 else 'run'} right now." if count else ""


def _preview_off(thing: Feature, running: int) -> list[str]:
    return ["No new call starts.", _running(running) + " They may finish." if running else "No call runs right now."]


def _preview_kill(thing: Feature, running: int) -> list[str]:
    return [
        "Everybody loses it at once, on every phone.",
        _running(running) or "No call runs right now.",
        f"Un-killing gives everything back as it was: {_having(thing)} it while it is on.",
    ]


def _preview_on(thing: Feature, running: int) -> list[str]:
    return [f"{_having(thing).capitalize()} it at once."]


def _preview_launch(thing: Feature, running: int) -> list[str]:
    return [
        "Everybody who is eligible has it from now on, and no grant is needed any more.",
        *_unheld(timezone.now()),
        f"Grants stay as they are ({people_words(_holders(thing))} today), should you ever take the launch back.",
        *_counted(thing, {"access": Access.EVERYONE.value}),
    ]


def _unheld(now: datetime) -> list[str]:
    """What a launch asks of the network: nobody waits for capacity any more."""
    rows = area_rows(now)
    lines = ["Capacity holds nobody back: all of them may call at once."]
    for row in rows[:AREAS_TOLD]:
        calls = "an unknown number" if row.calls is None else f"{row.calls:,}"
        lines.append(f"{row.area.name} carries {calls_words(row.area.capacity_calls)}; {calls} of them run now.")
    if len(rows) > AREAS_TOLD:
        lines.append(f"The overview shows {len(rows) - AREAS_TOLD:,} more areas.")
    return lines


def _counted(thing: Feature, changes: Mapping[str, Any]) -> list[str]:
    """Who gains and who loses. Nothing when it can't be told: the verb itself says why."""
    try:
        return of_feature(thing.key, changes, now=timezone.now()).words
    except Refusal:
        return []


def _preview_access(thing: Feature, running: int) -> list[str]:
    lines = [f"Access is “{thing.get_access_display()}” now.", "The change reaches every phone within seconds."]
    waiting = [f"wave “{wave.name}”" for wave in thing.waves.filter(state="open")]
    waiting += [f"window “{window.name}”" for window in thing.windows.filter(state="open")]
    if waiting:
        lines.append(f"Unless access is “granted”, the {' and the '.join(waiting[:3])} would be open for nothing.")
    return lines


FEATURE_VERBS = (
    Verb("on", "Switch on", "widen", lambda f: f.switch == "off", _preview_on,
         _feature_verb(features.switch_on, "{} is on."), WideningForm, undo="off"),
    Verb("off", "Switch off", "narrow", lambda f: f.switch == "on", _preview_off,
         _feature_verb(features.switch_off, "{} is off: no new calls; running ones finish."), undo="on"),
    Verb("unkill", "Un-kill", "widen", lambda f: f.switch == "killed", _preview_on,
         _feature_verb(features.unkill, "{} is no longer killed: everybody has what they had."), WideningForm),
    Verb("launch", "Launch", "widen", lambda f: f.access != "everyone", _preview_launch,
         _feature_verb(features.launch, "{} is launched: everybody eligible has it."), WideningForm, undo="access"),
    Verb("access", "Access…", "plain", lambda f: True, _preview_access, _set_access, AccessForm),
    Verb("kill", "Kill", "danger", lambda f: f.switch != "killed", _preview_kill, _kill, KillForm, undo="unkill"),
)  # fmt: skip


def _preview_open_window(thing: Window, running: int) -> list[str]:
    if ignored := ignored_by(thing.feature):
        return [ignored]
    areas = ", ".join(area.name for area in thing.areas.all()) or "all areas"
    depth = "at any depth" if thing.depth_limit is None else f"at most {thing.depth_limit} away from the first inviter"
    return [
        f"Whoever has the feature brings in others by calling, in {areas}.",
        f"{_having(thing.feature).capitalize()} it now.",
        f"At most {people_words(thing.places)} in all, {thing.quota} by each inviter, {depth}.",
        f"Somebody comes in when {thing.get_activate_on_display()[0].lower()}{thing.get_activate_on_display()[1:]}.",
    ]


def _preview_close_window(thing: Window, running: int) -> list[str]:
    lines = ["Nobody is granted through this window any more. Those who came in keep the feature."]
    if thing.pending:
        lines.append(f"{calls_words(thing.pending).capitalize()} that ring right now will activate nobody.")
    return [*lines, f"{people_words(thing.used)} came in so far. A closed window can't be opened again."]


def _open_window(thing: Window, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    windows.open_window(thing.pk, actor=actor, reason=data["reason"], now=now)
    return f"The window “{thing.name}” is open."


def _close_window(thing: Window, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    windows.close_window(thing.pk, actor=actor, reason=data["reason"], now=now)
    return f"The window “{thing.name}” is closed: nobody comes in through it any more. Its report follows in a moment."


WINDOW_VERBS = (
    Verb("open", "Open window", "widen", lambda w: w.state == "scheduled", _preview_open_window, _open_window,
         WideningForm),
    Verb("close", "Close window", "narrow", lambda w: w.state == "open", _preview_close_window, _close_window),
)  # fmt: skip


def _preview_wave(thing: Wave, running: int) -> list[str]:
    if ignored := ignored_by(thing.feature):
        return [ignored]
    return [_whom(thing), _came_in(thing)]


def _whom(thing: Wave) -> str:
    share = "all of" if thing.share_ppm == MILLION else f"{share_words(thing.share_ppm)} of"
    size = wave_size(thing, timezone.now())
    if size is None:
        return f"It is for {share} its audience, as fast as capacity allows."
    about = f" ({size.members.how})" if size.members.how else ""
    return (
        f"It is for {people_words(size.members.people)}{about}: {share} its audience, with a phone that meets what "
        f"{thing.feature.name} asks for. {have_words(size.holding.people).capitalize()} it already, so "
        f"{people_words(size.to_come)} may come in, as fast as capacity allows."
    )


def _came_in(thing: Wave) -> str:
    return f"{people_words(thing.admitted)} came in through it so far; whoever has the feature keeps it."


def _preview_hold(thing: Wave, running: int) -> list[str]:
    return ["Nobody new comes in through this wave until somebody resumes it.", _came_in(thing)]


def _wave_verb(action: Callable[..., Any], words: str) -> Act:
    def act(thing: Wave, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
        action(thing.pk, actor=actor, reason=data["reason"], now=now)
        return words.format(thing.name)

    return act


WAVE_VERBS = (
    Verb("open", "Open wave", "widen", lambda w: w.state == "draft", _preview_wave,
         _wave_verb(waves.open_wave, "The wave “{}” is open: people come in as capacity allows."), WideningForm,
         undo="hold"),
    Verb("resume", "Resume", "widen", lambda w: w.state == "held", _preview_wave,
         _wave_verb(waves.resume_wave, "The wave “{}” goes on."), WideningForm, undo="hold"),
    Verb("hold", "Hold", "narrow", lambda w: w.state == "open", _preview_hold,
         _wave_verb(waves.hold_wave, "The wave “{}” is held: nobody new comes in."), undo="resume"),
)  # fmt: skip


def _grant_verb(action: Callable[..., Grant], words: str) -> Act:
    def act(thing: Grant, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
        action(thing.pk, actor=actor, reason=data["reason"], now=now)
        return words.format(thing.subscriber or "somebody who left")

    return act


def _preview_freeze(thing: Grant, running: int) -> list[str]:
    return [f"{thing.subscriber or 'This person'} keeps {thing.feature.name}, and can bring in nobody until thawed."]


def _preview_thaw(thing: Grant, running: int) -> list[str]:
    return [f"{thing.subscriber or 'This person'} can bring in others again, while a window is open."]


def _preview_revoke(thing: Grant, running: int) -> list[str]:
    below = Grant.objects.live().filter(parent=thing).count()
    return [
        f"{thing.subscriber or 'This person'} loses {thing.feature.name}; a call that runs may finish.",
        f"{people_words(below)} whom they brought in keep it." if below else "Nobody came in through them.",
    ]


GRANT_VERBS = (
    Verb("freeze", "Freeze", "narrow", lambda g: g.state == "active", _preview_freeze,
         _grant_verb(grants.freeze_grant, "The grant of {} is frozen: they bring in nobody."), ReasonForm, undo="thaw"),
    Verb("thaw", "Thaw", "widen", lambda g: g.state == "frozen", _preview_thaw,
         _grant_verb(grants.thaw_grant, "The grant of {} is thawed."), WideningForm, undo="freeze"),
    Verb("revoke", "Revoke", "danger", lambda g: g.state in LIVE, _preview_revoke,
         _grant_verb(grants.revoke_grant, "The grant of {} is revoked; their phone is told."), WideningForm),
)  # fmt: skip


def _restore(thing: Ruleset, *, actor: Actor, now: datetime, data: Mapping[str, Any]) -> str:
    done = definitions.restore(thing.version, actor=actor, reason=data["reason"], now=now)
    return f"The definitions of ruleset {thing.version} are back, in a new ruleset. {done.words[0]}"


def _preview_restore(thing: Ruleset, running: int) -> list[str]:
    kept = "Grants, waves, windows, areas and keys stay. A restore neither kills nor un-kills."
    try:
        todo = plan(of_published(document_of(thing.version)), now=timezone.now())
    except Refusal as refusal:
        return [refusal.detail, kept]
    more = [f"And {len(todo.words) - 30} more."] if len(todo.words) > 30 else []
    return [*todo.words[:30], *more, kept]


RULESET_VERBS = (
    Verb("restore", "Restore", "widen", lambda r: Ruleset.objects.filter(version__gt=r.version).exists(),
         _preview_restore, _restore, WideningForm),
)  # fmt: skip
