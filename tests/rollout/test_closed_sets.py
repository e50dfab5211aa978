"""Closed sets stand once, in the rules: columns, checks and SQL functions know no other words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, models

from controlplane.accounts.rules.traits import DeviceClass, NetworkClass, Platform, SubscriberKind
from rollout.rules.decision.grant import GrantState, Source
from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, FeatureKind, Switch, WaveState
from rollout.rules.spread.invite import Outcome
from rollout.rules.spread.window import ActivateOn, ReservationState, WindowState

ROOT = Path(__file__).resolve().parents[2]
COLUMNS: dict[str, tuple[type[StrEnum], ...]] = {
    "rollout_feature.switch": (Switch,),
    "rollout_feature.killed_from": (Switch,),
    "rollout_feature.access": (Access,),
    "rollout_feature.kind": (FeatureKind,),
    "rollout_wave.state": (WaveState,),
    "rollout_window.state": (WindowState,),
    "rollout_window.activate_on": (ActivateOn,),
    "rollout_area.state": (AreaState,),
    "rollout_capacitydecision.state": (AreaState,),
    "rollout_capacitydecision.previous_state": (AreaState,),
    "rollout_grant.source": (Source,),
    "rollout_grant.state": (GrantState,),
    "rollout_reservation.state": (ReservationState,),
    "accounts_subscriber.kind": (SubscriberKind,),
    "accounts_device.platform": (Platform,),
    "accounts_device.device_class": (DeviceClass,),
    "accounts_device.network_class": (NetworkClass,),
}
NAMED = r"\b(state|source|switch|access|activate_on|outcome|kind|platform|device_class)\b"
COMPARED = re.compile(rf"{NAMED}(?:\)?::text)?\s*(?:=|<>|:=|IN)\s*('\w*'|\((?:'\w+',?\s*)+\)|ANY \(.*?\]\))", re.I)


def chosen() -> Iterator[tuple[str, models.Field[object, object]]]:
    """Every column whose values are chosen from some."""
    for label in ("rollout", "accounts"):
        for model in apps.get_app_config(label).get_models():
            for field in model._meta.local_fields:
                if field.choices:
                    yield f"{model._meta.db_table}.{field.column}", field


def known(column: str) -> set[str]:
    """Every word that a column of this name may hold, in whichever table."""
    sets = [members for name, members in COLUMNS.items() if name.endswith(f".{column}")]
    if column == "outcome":
        sets.append((Outcome,))
    return {word.value for members in sets for each in members for word in each}


def strange(text: str) -> list[str]:
    """Words that SQL compares such a column with, and that its set doesn't have."""
    return [
        f"{column} {word}"
        for column, compared in COMPARED.findall(text)
        for word in re.findall(r"'(\w*)'", compared)
        if word not in known(column.lower())
    ]


def test_columns__with_choices__have_the_words_of_one_set_of_the_rules() -> None:
    found = {name: [value for value, _ in field.flatchoices] for name, field in chosen()}

    assert found == {name: [word.value for each in sets for word in each] for name, sets in COLUMNS.items()}


def test_sets__are_listed__in_no_model() -> None:
    listed = [
        path for app in ("rollout", "calls") for path in (ROOT / app).rglob("*.py") if "Choices)" in path.read_text()
    ]

    assert listed == []


def test_sql_functions__compare__with_words_of_the_sets_only() -> None:
    files = [path for app in ("rollout", "calls") for path in (ROOT / app).rglob("*.sql")]
    compared = [word for path in files for word in COMPARED.findall(path.read_text())]

    assert len(compared) > 30, "the pattern finds nothing, so this check would prove nothing"
    assert {path.name: strange(path.read_text()) for path in files if strange(path.read_text())} == {}
    assert strange("WHERE g.state IN ('active', 'froze') AND f.switch <> 'kiled'") == ["state froze", "switch kiled"]


@pytest.mark.django_db
def test_checks_and_partial_indexes__compare__with_words_of_the_sets_only() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c' AND conrelid::regclass::text ~ %s"
            " UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename ~ %s AND indexdef LIKE '%% WHERE %%'",
            ["^(rollout|accounts)_", "^(rollout|accounts)_"],
        )
        rules = [str(row[0]) for row in cursor.fetchall()]

    compared = [word for rule in rules for word in COMPARED.findall(rule)]
    assert {column for column, _ in compared} >= {"state", "source"}, rules
    assert [fault for rule in rules for fault in strange(rule)] == []
