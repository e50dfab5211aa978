"""Who gains, loses and changes variant between two rulesets: a comparison of decisions, pure and counted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.rules.audience import AnyOf, names_in
from rollout.rules.decision import Decision, Party, Ruleset, decide
from rollout.rules.feature import Feature

TRAITS = ("country", "platform", "carrier")
MOST_EXAMPLES = 5
MOST_PLACES = 50
UNKNOWN = "not known"
OTHERS = "others"


class Move(StrEnum):
    GAINS = "gains"
    LOSES = "loses"
    CHANGES = "changes"  # has it before and after, with another variant
    STAYS = "stays"


@dataclass(frozen=True, slots=True)
class Example:
    """One person, with the causes before and after."""

    subscriber: str
    before: Decision
    after: Decision


@dataclass(slots=True)
class Tally:
    """What happens to the people of one feature. `by` counts movers by trait and value."""

    feature: str
    looked_at: int = 0
    had: int = 0
    has: int = 0
    moves: dict[Move, int] = field(default_factory=lambda: dict.fromkeys(Move, 0))
    by: dict[str, dict[str, dict[Move, int]]] = field(default_factory=lambda: {trait: {} for trait in TRAITS})
    examples: dict[Move, list[Example]] = field(default_factory=dict)

    def count(self, party: Party, before: Decision, after: Decision) -> None:
        move = moved(before, after)
        self.looked_at += 1
        self.had += before.enabled
        self.has += after.enabled
        self.moves[move] += 1
        if move is Move.STAYS:
            return
        for trait in TRAITS:
            value = party.traits.get(trait)
            places = self.by[trait]
            name = value if isinstance(value, str) and value else UNKNOWN
            if name not in places and len(places) >= MOST_PLACES:
                name = OTHERS
            cell = places.setdefault(name, dict.fromkeys((Move.GAINS, Move.LOSES, Move.CHANGES), 0))
            cell[move] += 1
        shown = self.examples.setdefault(move, [])
        if len(shown) < MOST_EXAMPLES:
            shown.append(Example(party.subscriber, before, after))

    @property
    def widens(self) -> bool:
        return bool(self.moves[Move.GAINS])

    @property
    def moves_anybody(self) -> bool:
        return self.moves[Move.STAYS] != self.looked_at


def moved(before: Decision, after: Decision) -> Move:
    """Somebody who has it neither before nor after stays, whatever the cause and the variant of those who haven't."""
    if after.enabled and not before.enabled:
        return Move.GAINS
    if before.enabled and not after.enabled:
        return Move.LOSES
    differs = (before.variant, before.value) != (after.variant, after.value)
    return Move.CHANGES if before.enabled and differs else Move.STAYS


def compare(
    before: Ruleset, after: Ruleset, features: Collection[str], people: Iterable[Party], now: datetime
) -> list[Tally]:
    """Every person's decisions of these features by both rulesets, counted. A feature that isn't there is off."""
    tallies = [Tally(feature) for feature in features]
    for party in people:
        for tally in tallies:
            key = tally.feature
            tally.count(party, decide(before, key, party, now), decide(after, key, party, now))
    return tallies


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
    named = (Move.GAINS, Move.LOSES, Move.CHANGES)
    return {
        "feature": tally.feature,
        "had": tally.had,
        "has": tally.has,
        **{str(move): tally.moves[move] for move in named},
        "by": {
            trait: {
                place: {str(move): cell[move] for move in named}
                for place, cell in sorted(places.items(), key=lambda item: -sum(item[1].values()))
            }
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
            for move in named
        },
    }
