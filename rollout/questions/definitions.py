"""The definitions that stand in the database, and what a document would make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.errors import DocumentInvalid
from rollout.models import Audience, Feature, Switch
from rollout.questions.rulesets import build
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.definitions import FORMAT, USUAL, Definitions, merged, proposed, read_definitions
from rollout.rules.ruleset.difference import Change, alike, differences, summary
from rollout.rules.ruleset.document import read_ruleset


@dataclass(frozen=True, slots=True)
class Plan:
    """What a document would change: `before` and `after` are whole definitions, `remarks` what it leaves alone."""

    before: Definitions
    after: Definitions
    changes: tuple[Change, ...]
    remarks: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        return [summary(self.changes), *(change.words for change in self.changes), *self.remarks]

    def touched(self, section: str) -> list[str]:
        """The keys of a section that are new or differ."""
        old, new = self.before[section], self.after[section]
        return [key for key in sorted(new) if not alike(old.get(key), new[key])]


def export() -> Definitions:
    """Everything that operators wrote about features and audiences: importing it again changes nothing."""
    audiences = Audience.objects.order_by("key")
    return {
        "format": FORMAT,
        "audiences": {each.key: {"name": each.name, "any_of": each.any_of} for each in audiences},
        "features": {each.key: definition_of(each) for each in Feature.objects.order_by("key")},
    }


def definition_of(feature: Feature) -> dict[str, Any]:
    found = {name: getattr(feature, name) for name in USUAL}
    if feature.switch != Switch.KILLED:
        del found["killed_from"]
    return {name: str(value) if isinstance(value, str) else value for name, value in found.items()}


def plan(document: Any, *, now: datetime) -> Plan:
    """What importing this would do; nothing is done. Raises `DocumentInvalid` with the path of the first fault."""
    try:
        wanted = read_definitions(document)
        before = export()
        after, remarks = merged(before, wanted)
        read_ruleset(proposed(numbered(build(now)), after))
    except Invalid as error:
        raise DocumentInvalid(error.path, error.why) from error
    return Plan(before, after, tuple(differences(before, after)), tuple(remarks))


def numbered(document: Mapping[str, Any]) -> dict[str, Any]:
    """A ruleset's document that can be read, before it is published."""
    return {**document, "version": max(1, document["version"])}
