"""How many people have a feature: counted by decisions, never by grants, and said with what was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from rollout.rules.decision import Compiled
from rollout.rules.feature import Switch
from rollout.rules.many import evaluate_many
from rollout.rules.table import Table


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


def count_having(features: Sequence[Compiled], people: Iterable[Table], now: datetime) -> Mapping[str, int]:
    """By key, how many of these people have each feature while it is on."""
    switched_on = {each.feature.key: as_if_on(each) for each in features}
    having = dict.fromkeys(switched_on, 0)
    for table in people:
        for key, feature in switched_on.items():
            having[key] += int(np.count_nonzero(evaluate_many(feature, table, now).enabled))
    return having
