"""The verbs of a feature. Each locks its row, applies, audits and publishes, or refuses and changes nothing.

A verb that would change nothing (switching on what is on) writes nothing and returns the feature as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from controlplane.audit.record import Actor, record
from controlplane.audit.rules.verbs import narrows
from controlplane.audit.rules.words import deed_words
from rollout.actions.rulesets import publish, publish_narrowing
from rollout.errors import FeatureChanged, FeatureExists, FeatureInvalid, FeatureKilled, FeatureUnknown
from rollout.models import Access, Feature, Switch
from rollout.questions.features import CHANGEABLE, assign, new_feature, validate_feature
from rollout.rules.definition.feature import FeatureKind


@transaction.atomic
def create_feature(
    key: str,
    *,
    name: str,
    actor: Actor,
    now: datetime,
    reason: str = "",
    kind: str = FeatureKind.BOOLEAN,
    fields: Mapping[str, Any] | None = None,
) -> Feature:
    """A new feature, switched off. `fields` holds any of `CHANGEABLE`.

    Raises `FeatureExists`, and `FeatureInvalid` with the path of what can't be used.
    """
    feature = new_feature(key, kind=kind, fields={"name": name, **(fields or {})})
    if Feature.objects.filter(key=key).exists():
        raise FeatureExists(key)
    try:
        with transaction.atomic():
            feature.save(force_insert=True)
    except IntegrityError as error:
        raise FeatureExists(key) from error
    detail = {"kind": str(kind), "access": str(feature.access)}
    record("feature.created", subject=_subject(feature), actor=actor, now=now, reason=reason, detail=detail)
    publish(actor, now, f"Created {key}")
    return feature


@transaction.atomic
def change_feature(
    key: str,
    *,
    changes: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    reason: str = "",
    revision: int | None = None,
) -> Feature:
    """Changes any of `CHANGEABLE`. With `revision`, only if nobody changed the feature since (`FeatureChanged`)."""
    feature = _locked(key)
    if revision is not None and feature.revision != revision:
        raise FeatureChanged(feature.revision)
    before = {name: getattr(feature, name) for name in changes if name in CHANGEABLE}
    assign(feature, changes)
    validate_feature(feature)
    changed = {name: {"from": old, "to": getattr(feature, name)} for name, old in before.items()}
    changed = {name: pair for name, pair in changed.items() if pair["from"] != pair["to"]}
    if not changed:
        return feature
    return _store(feature, "feature.changed", actor=actor, now=now, reason=reason, detail=changed)


def switch_on(key: str, *, actor: Actor, now: datetime, reason: str = "") -> Feature:
    """Raises `FeatureKilled`: what was killed is un-killed, so that nobody undoes a kill by the way."""
    return _switch(key, Switch.ON, verb="feature.switched_on", actor=actor, now=now, reason=reason)


def switch_off(key: str, *, actor: Actor, now: datetime, reason: str = "") -> Feature:
    """No new calls; running ones finish. Raises `FeatureKilled`."""
    return _switch(key, Switch.OFF, verb="feature.switched_off", actor=actor, now=now, reason=reason)


@transaction.atomic
def _switch(key: str, to: Switch, *, verb: str, actor: Actor, now: datetime, reason: str) -> Feature:
    feature = _locked(key)
    if feature.switch == Switch.KILLED:
        raise FeatureKilled
    if feature.switch == to:
        return feature
    feature.switch = to
    return _store(feature, verb, actor=actor, now=now, reason=reason)


@transaction.atomic
def kill(key: str, *, actor: Actor, now: datetime, end_calls: bool = False, reason: str = "") -> Feature:
    """Stopped for everybody. With `end_calls`, calls that began before `now` end too.

    Killing again may add `end_calls`. Nothing else is lost: un-killing restores what was.
    """
    feature = _locked(key)
    if feature.switch == Switch.KILLED and not end_calls:
        return feature
    if feature.switch != Switch.KILLED:
        feature.killed_from = feature.switch
        feature.switch = Switch.KILLED
    if end_calls:
        feature.stop_calls_before = now
    return _store(
        feature,
        "feature.killed",
        actor=actor,
        now=now,
        reason=reason,
        detail={"was": feature.killed_from, "end_calls": end_calls},
    )


@transaction.atomic
def unkill(key: str, *, actor: Actor, now: datetime, reason: str = "") -> Feature:
    """As it was before the kill: on stays on, off stays off, and everybody's decision is what it was."""
    feature = _locked(key)
    if feature.switch != Switch.KILLED:
        return feature
    feature.switch = feature.killed_from or Switch.OFF
    feature.killed_from = ""
    detail = {"to": str(feature.switch)}
    return _store(feature, "feature.unkilled", actor=actor, now=now, reason=reason, detail=detail)


def launch(key: str, *, actor: Actor, now: datetime, reason: str = "") -> Feature:
    """Whoever is eligible has it, and no grant is needed any more."""
    return _set_access(key, Access.EVERYONE, verb="feature.launched", actor=actor, now=now, reason=reason)


def set_access(key: str, *, access: str, actor: Actor, now: datetime, reason: str = "") -> Feature:
    """Who decides who has it: grants, rules, or nobody (everyone). Raises `FeatureInvalid`."""
    if access not in list(Access):
        raise FeatureInvalid("access", f"expected one of {', '.join(Access)}.")
    verb = "feature.launched" if access == Access.EVERYONE else "feature.access_set"
    return _set_access(key, Access(access), verb=verb, actor=actor, now=now, reason=reason)


@transaction.atomic
def _set_access(key: str, access: Access, *, verb: str, actor: Actor, now: datetime, reason: str) -> Feature:
    feature = _locked(key)
    if feature.access == access:
        return feature
    detail = {"from": str(feature.access), "to": str(access)}
    feature.access = access
    return _store(feature, verb, actor=actor, now=now, reason=reason, detail=detail)


def expect(key: str, revision: int) -> None:
    """Locks the feature until the transaction ends. Raises `FeatureChanged` when it is at another revision."""
    feature = _locked(key)
    if feature.revision != revision:
        raise FeatureChanged(feature.revision)


def _locked(key: str) -> Feature:
    """FOR UPDATE, and not less: whoever grants holds a share of the row's key, so that a kill waits for them, and
    whoever comes later waits for the kill and then sees it.
    """
    try:
        return Feature.objects.select_for_update().get(key=key)
    except Feature.DoesNotExist as error:
        raise FeatureUnknown(key) from error


def _subject(feature: Feature) -> str:
    return f"feature:{feature.key}"


def _store(
    feature: Feature, verb: str, *, actor: Actor, now: datetime, reason: str, detail: Mapping[str, Any] | None = None
) -> Feature:
    feature.revision += 1
    feature.save()
    record(verb, subject=_subject(feature), actor=actor, now=now, reason=reason, detail=detail)
    note = deed_words(verb, _subject(feature))
    if narrows(verb):
        publish_narrowing(feature, actor, now, note)
    else:
        publish(actor, now, note)
    return feature
