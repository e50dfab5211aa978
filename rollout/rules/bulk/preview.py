"""Who gains, loses and changes variant between two rulesets: a comparison of decisions, pure and counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from rollout.rules.bulk.evaluation import Verdicts, evaluate_many
from rollout.rules.bulk.table import Column, Table
from rollout.rules.decision.decision import Cause, Decision, Reason, Ruleset
from rollout.rules.definition.audience import AnyOf, names_in
from rollout.rules.definition.feature import Feature

TRAITS = ("country", "platform", "carrier")
MOST_EXAMPLES = 5
MOST_PLACES = 50  # shown of each trait, those with the most movers
MOST_COUNTED = 10_000  # places of one trait that are told apart
UNKNOWN = "not known"
OTHERS = "others"


class Move(StrEnum):
    GAINS = "gains"
    LOSES = "loses"
    CHANGES = "changes"  # has it before and after, with another variant
    STAYS = "stays"


MOVES = tuple(Move)
MOVERS = (Move.GAINS, Move.LOSES, Move.CHANGES)
Cell = dict[Move, int]


@dataclass(frozen=True, slots=True)
class Example:
    """One person, with the causes before and after."""

    subscriber: str
    before: Decision
    after: Decision


@dataclass(slots=True)
class Tally:
    """What happens to the people of one feature. `places` counts movers by trait and value."""

    feature: str
    looked_at: int = 0
    had: int = 0
    has: int = 0
    moves: dict[Move, int] = field(default_factory=lambda: dict.fromkeys(Move, 0))
    places: dict[str, dict[str, Cell]] = field(default_factory=lambda: {trait: {} for trait in TRAITS})
    examples: dict[Move, list[Example]] = field(default_factory=dict)

    def count(self, table: Table, before: Verdicts, after: Verdicts) -> None:
        """Adds the people of one table, of whom both say what they have."""
        kinds = np.array(
            [[MOVES.index(moved(old, new)) for new in after.outcomes] for old in before.outcomes], np.uint8
        )
        found = kinds[before.outcome, after.outcome]
        self.looked_at += table.size
        self.had += int(np.count_nonzero(before.enabled))
        self.has += int(np.count_nonzero(after.enabled))
        for move, n in zip(MOVES, np.bincount(found, minlength=len(MOVES)), strict=True):
            self.moves[move] += int(n)
        movers = np.flatnonzero(found != MOVES.index(Move.STAYS))
        if not len(movers):
            return
        for trait, cells in self.places.items():
            _count_places(cells, table.trait(trait), movers, found[movers])
        for move in MOVERS:
            shown = self.examples.setdefault(move, [])
            for row in np.flatnonzero(found == MOVES.index(move))[: MOST_EXAMPLES - len(shown)]:
                pair = before.outcomes[before.outcome[row]], after.outcomes[after.outcome[row]]
                shown.append(Example(table.units.text(int(row)), *pair))

    @property
    def by(self) -> dict[str, dict[str, Cell]]:
        """Movers by trait and value, the places with the most of them first; the rest is one of `others`."""
        return {trait: _shown(cells) for trait, cells in self.places.items()}

    @property
    def widens(self) -> bool:
        return bool(self.moves[Move.GAINS])

    @property
    def moves_anybody(self) -> bool:
        return self.moves[Move.STAYS] != self.looked_at


def _count_places(cells: dict[str, Cell], column: Column, rows: Any, moves: Any) -> None:
    """Adds the movers, who stand in these rows, to the cells of their values."""
    names: dict[str, int] = {}

    def judge(value: Any) -> int:
        name = value if isinstance(value, str) and value else UNKNOWN
        if name not in names and len(names) >= MOST_COUNTED:
            name = OTHERS
        return names.setdefault(name, len(names))

    places = column.judged(judge)(slice(0, len(column)))[rows].astype(np.intp)
    counts = np.bincount(places * len(MOVES) + moves, minlength=len(names) * len(MOVES)).reshape(-1, len(MOVES))
    for name, row in zip(names, counts, strict=True):
        if row.any():
            cell = cells.setdefault(name, dict.fromkeys(MOVERS, 0))
            for move in MOVERS:
                cell[move] += int(row[MOVES.index(move)])


def _shown(cells: dict[str, Cell]) -> dict[str, Cell]:
    ordered = sorted(cells.items(), key=lambda item: (item[0] == OTHERS, -sum(item[1].values())))
    shown = dict(ordered[:MOST_PLACES])
    for _, cell in ordered[MOST_PLACES:]:
        rest = shown.setdefault(OTHERS, dict.fromkeys(MOVERS, 0))
        for move in MOVERS:
            rest[move] += cell[move]
    return shown


def moved(before: Decision, after: Decision) -> Move:
    """Somebody who has it neither before nor after stays, whatever the cause and the variant of those who haven't."""
    if after.enabled and not before.enabled:
        return Move.GAINS
    if before.enabled and not after.enabled:
        return Move.LOSES
    differs = (before.variant, before.value) != (after.variant, after.value)
    return Move.CHANGES if before.enabled and differs else Move.STAYS


def compare(
    before: Ruleset, after: Ruleset, features: Collection[str], people: Iterable[Table], now: datetime
) -> list[Tally]:
    """Every person's decisions of these features by both rulesets, counted. A feature that isn't there is off."""
    tallies = [Tally(feature) for feature in features]
    for table in people:
        for tally in tallies:
            tally.count(table, *(_decided(ruleset, tally.feature, table, now) for ruleset in (before, after)))
    return tallies


def _decided(ruleset: Ruleset, feature: str, table: Table, now: datetime) -> Verdicts:
    if feature in ruleset.features:
        return evaluate_many(ruleset.features[feature], table, now)
    unknown = Decision(feature, None, "", Reason.ERROR, Cause.UNKNOWN_FEATURE)
    return Verdicts((unknown,), np.zeros(table.size, np.uint16))


def affected(before: Ruleset, after: Ruleset) -> list[str]:
    """The features whose decisions may differ: changed, or using a changed audience, or needing such a feature."""
    audiences = _with_users(before, after)
    keys = [*after.features, *(key for key in before.features if key not in after.features)]
    found = {key for key in keys if _differs(before, after, key, audiences)}
    grown = True
    while grown:
        needing = {
            key
            for key, compiled in after.features.items()
            if key not in found and found.intersection(compiled.feature.prerequisites)
        }
        found |= needing
        grown = bool(needing)
    return sorted(found)


def _with_users(before: Ruleset, after: Ruleset) -> frozenset[str]:
    """Audiences that differ, and those that name them, also through others."""
    old, new = before.audiences, after.audiences
    found = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    grown = True
    while grown:
        users = {key for key, any_of in new.items() if key not in found and names_in(any_of) & found}
        found |= users
        grown = bool(users)
    return frozenset(found)


def _differs(before: Ruleset, after: Ruleset, key: str, audiences: frozenset[str]) -> bool:
    old, new = before.features.get(key), after.features.get(key)
    if old is None or new is None:
        return True
    if old.feature != new.feature:
        return True
    return any(names_in(any_of) & audiences for any_of in _audiences_of(new.feature))


def _audiences_of(feature: Feature) -> list[AnyOf]:
    return [rule.any_of for rule in feature.rules] + [wave.any_of for wave in feature.waves]


def as_json(tally: Tally) -> dict[str, Any]:
    """One feature's counts, plain."""
    return {
        "feature": tally.feature,
        "had": tally.had,
        "has": tally.has,
        **{str(move): tally.moves[move] for move in MOVERS},
        "by": {
            trait: {place: {str(move): n for move, n in cell.items()} for place, cell in places.items()}
            for trait, places in tally.by.items()
        },
        "examples": {
            str(move): [
                {
                    "subscriber": each.subscriber,
                    "before": {"variant": each.before.variant, "cause": str(each.before.cause)},
                    "after": {"variant": each.after.variant, "cause": str(each.after.cause)},
                }
                for each in tally.examples.get(move, [])
            ]
            for move in MOVERS
        },
    }
