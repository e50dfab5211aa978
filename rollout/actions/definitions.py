"""Importing definitions, and restoring those of an earlier ruleset: all of it in one transaction, or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from controlplane.audit.record import Actor, record
from rollout.actions.rulesets import publish
from rollout.errors import ChangedMeanwhile, RulesetUnknown
from rollout.models import Audience, Feature
from rollout.questions.definitions import Plan, plan
from rollout.questions.rulesets import document_of
from rollout.rules.ruleset.definitions import USUAL, of_published
from rollout.rules.ruleset.difference import alike


def import_definitions(
    document: Any, *, actor: Actor, now: datetime, reason: str = "", verb: str = "imported", note: str = "Imported"
) -> Plan:
    """What the document names stands here as it says; what it doesn't name stays. Grants, waves and kills are left
    alone. Every changed feature and audience is audited. Raises `DocumentInvalid` and `RulesetInvalid` with a path, and
    `ChangedMeanwhile`.
    """
    try:
        with transaction.atomic():
            # As every verb does: rows first, the publishing lock last. Nobody's change comes between plan and writing.
            list(Feature.objects.select_for_update().order_by("key"))
            list(Audience.objects.select_for_update().order_by("key"))
            todo = plan(document, now=now)
            for key in todo.touched("audiences"):
                _store_audience(key, todo.after["audiences"][key])
            for key in todo.touched("features"):
                _store_feature(key, todo.after["features"][key])
            for section, noun in (("audiences", "audience"), ("features", "feature")):
                for key in todo.touched(section):
                    detail = _changed(todo.before[section].get(key), todo.after[section][key])
                    subject = f"{noun}:{key}"
                    record(f"{noun}.{verb}", subject=subject, actor=actor, now=now, reason=reason, detail=detail)
            if todo.changes:
                publish(actor, now, note)
    except IntegrityError as error:  # somebody made a thing with one of these keys at the same moment
        raise ChangedMeanwhile("feature or audience") from error
    return todo


def restore(version: int, *, actor: Actor, now: datetime, reason: str = "") -> Plan:
    """The definitions of features and audiences are again what they were in that version; the ruleset is a new one.

    Names, descriptions, waves, windows, areas and keys stay as they are, and so does what came later. A restore neither
    kills nor un-kills. Raises `RulesetUnknown`, `DocumentInvalid` and `RulesetInvalid`.
    """
    if version < 1:
        raise RulesetUnknown(version)
    document = of_published(document_of(version))
    note = f"Restored the definitions of ruleset {version}"
    return import_definitions(document, actor=actor, now=now, reason=reason, verb="restored", note=note)


def _store_audience(key: str, definition: Mapping[str, Any]) -> None:
    row = Audience.objects.filter(key=key).first() or Audience(key=key, revision=0)
    row.name, row.any_of = definition["name"], definition["any_of"]
    row.revision += 1
    row.save()


def _store_feature(key: str, definition: Mapping[str, Any]) -> None:
    row = Feature.objects.filter(key=key).first() or Feature(key=key, revision=0)
    for name in USUAL:
        setattr(row, name, definition.get(name, USUAL[name]))
    row.salt = row.salt or secrets.token_hex(8)
    row.revision += 1
    row.save()


def _changed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    old = before or {}
    return {
        name: {"from": old.get(name), "to": value} for name, value in after.items() if not alike(old.get(name), value)
    }
