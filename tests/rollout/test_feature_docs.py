"""The examples of docs/features.md are read as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rollout.rules.definition.audience import parse_any_of
from rollout.rules.definition.clause import Operator
from rollout.rules.definition.feature import parse_rule
from rollout.rules.definition.requirements import parse_requirements

PAGE = (Path(__file__).parent.parent.parent / "docs" / "features.md").read_text(encoding="utf-8")


def test_docs__examples__can_be_used() -> None:
    requirements, audience, rules = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
    variants = {"on": "", "blue": "", "green": ""}

    assert parse_requirements(requirements, "r").platforms["android"].os == "4.0"
    assert len(parse_any_of(audience, "a")) == 3
    assert [len(parse_rule(rule, "r", variants, "on").variants) for rule in rules] == [1, 1, 2]


def test_docs__operators__are_all_there_and_no_others() -> None:
    table = PAGE.split("| operators |")[1].split("\n\n")[0]

    assert set(re.findall(r"`([A-Z_]+)`", table)) == set(Operator)
