"""How many people have a feature: counted by decisions, never by grants, and said with what was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from rollout.rules.bulk.evaluation import evaluate_many
from rollout.rules.bulk.masks import Flags
from rollout.rules.bulk.table import Table, source_of
from rollout.rules.decision.decision import Cause, Compiled
from rollout.rules.definition.audience import AnyOf
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.feature import Access, Rule, Switch


@dataclass(frozen=True, slots=True)
class Headcount:
    """`having` of `looked_at` people have the feature while it is on; there are `of` people in all, about so many when
    that isn't `exact`. `at` is when it was counted.
    """

    having: int
    looked_at: int
    of: int
    exact: bool
    at: datetime

    @property
    def counted(self) -> bool:
        """Whether everybody was looked at."""
        return self.exact and self.looked_at == self.of

    @property
    def people(self) -> int:
        """How many have it: counted, or what the sample comes to."""
        if self.counted or not self.looked_at:
            return self.having
        return round(self.having * self.of / self.looked_at)

    @property
    def per_cent(self) -> float:
        return 100 * self.having / self.looked_at if self.looked_at else 0.0

    @property
    def how(self) -> str:
        """What the number rests on; empty where everybody was counted."""
        return "" if self.counted else f"estimated: {self.looked_at:,} people were looked at"


def as_if_on(feature: Compiled) -> Compiled:
    """The feature switched on; what it needs stays as it is."""
    return replace(feature, feature=replace(feature.feature, switch=Switch.ON))


@dataclass(frozen=True, slots=True)
class WaveSize:
    """How many people a wave is for, and how many of them hold a grant already."""

    members: Headcount
    holding: Headcount

    @property
    def to_come(self) -> int:
        return max(0, self.members.people - self.holding.people)


def as_wave(feature: Compiled, any_of: AnyOf, share_ppm: int) -> Compiled:
    """The feature as if it were on and given by a rule with this audience and share, as a wave's grant gives it."""
    whole = feature.feature
    rule = Rule("", any_of, share_ppm, (whole.default,), (MILLION,))
    return replace(feature, feature=replace(whole, switch=Switch.ON, access=Access.RULES, rules=(rule,)))


def in_wave(asked: Compiled, table: Table, now: datetime) -> Flags:
    """Whom of these people a wave is for (`asked` is of `as_wave`): those in its audience and share whose phone meets
    what the feature asks for, and who have what it needs.
    """
    verdicts = evaluate_many(asked, table, now)
    return np.array([each.cause is Cause.RULE for each in verdicts.outcomes])[verdicts.outcome]


def count_members(
    feature: Compiled, any_of: AnyOf, share_ppm: int, people: Iterable[Table], now: datetime
) -> tuple[int, int]:
    """How many of these people a wave with this audience and share is for, and how many of them hold a grant."""
    asked = as_wave(feature, any_of, share_ppm)
    members = holding = 0
    for table in people:
        chosen = in_wave(asked, table, now)
        held = table.grant(feature.feature.key).judged(lambda value: bool(source_of(value)))(slice(0, table.size))
        members += int(np.count_nonzero(chosen))
        holding += int(np.count_nonzero(chosen & (held != 0)))
    return members, holding


def count_having(features: Sequence[Compiled], people: Iterable[Table], now: datetime) -> Mapping[str, int]:
    """By key, how many of these people have each feature while it is on."""
    switched_on = {each.feature.key: as_if_on(each) for each in features}
    having = dict.fromkeys(switched_on, 0)
    for table in people:
        for key, feature in switched_on.items():
            having[key] += int(np.count_nonzero(evaluate_many(feature, table, now).enabled))
    return having
