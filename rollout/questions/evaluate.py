"""Decisions on the Django side: the same ruleset as on the edges, and people as PostgreSQL knows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import connection

from rollout.models import Ruleset as RulesetRow
from rollout.rules.decision.person import Person, read_person
from rollout.serving.ruleset import NEWEST, Ruleset, Rulesets, Signed

_rulesets = Rulesets(settings.KEYS.ruleset.verify_key)


def current() -> Ruleset:
    """The newest published ruleset that verifies; empty (version 0) when none was ever published."""
    for _ in range(3):  # a refused one makes way for the next best
        newest = _newest_acceptable()
        if newest is None or _rulesets.holds(*newest):
            break
        row = RulesetRow.objects.get(version=newest[0])
        _rulesets.swap(Signed(row.version, bytes(row.body), bytes(row.signature)))
    return _rulesets.current


def _newest_acceptable() -> tuple[int, bytes] | None:
    """Version and signature of the newest row that this process has not refused."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, list(_rulesets.refused_ones()))
        row = cursor.fetchone()
    return (row[0], bytes(row[1])) if row else None


def refusal() -> tuple[int, str] | None:
    """The newest ruleset and why it is refused; None while the newest one is the one that decides."""
    deciding = current()
    newest = RulesetRow.objects.order_by("-version").values_list("version", flat=True).first()
    if newest is None or newest == deciding.version:
        return None
    return newest, f"{_rulesets.last_refusal} Ruleset {deciding.version} stays in force."


def find_people(ids: Sequence[UUID]) -> list[Person]:
    """What PostgreSQL knows of these subscribers, in the order of their ids; those who are unknown are left out."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT person FROM rollout_people(%s)", [list(ids)])
        return [read_person(json.loads(row)) for (row,) in cursor.fetchall()]  # Django gives bare jsonb as text


def find_person(subscriber: UUID) -> Person | None:
    return next(iter(find_people([subscriber])), None)
