"""How many people have each feature: counted when asked while there are few people, else as the worker counted last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rollout.evaluate import current
from rollout.models import Feature
from rollout.models import Headcount as HeadcountRow
from rollout.people import choose, more_than, tables
from rollout.rules.decision import Ruleset
from rollout.rules.headcount import Headcount, count_having
from rollout.rules.many import holdings_needed, traits_needed

COUNTED_WHEN_ASKED = 2_000  # people: a few milliseconds
EXACT_UP_TO = 1_000_000  # people: some seconds of a worker


def headcounts(features: Sequence[Feature], now: datetime) -> Mapping[str, Headcount]:
    """By key. A feature is missing until it is published, or until the worker has counted it for the first time."""
    if not more_than(COUNTED_WHEN_ASKED):
        return count(current(), [feature.key for feature in features], now)
    rows = HeadcountRow.objects.filter(feature__in=features).select_related("feature")
    return {row.feature.key: row.as_value() for row in rows}


def count(ruleset: Ruleset, features: Sequence[str], now: datetime) -> Mapping[str, Headcount]:
    """Those of the ruleset's features, decided for everybody, or for a sample where people are too many."""
    compiled = [ruleset.features[key] for key in features if key in ruleset.features]
    crowd = choose(EXACT_UP_TO)
    people = tables(crowd, traits=traits_needed(compiled), grants=holdings_needed(compiled), areas=ruleset.areas)
    return {
        key: Headcount(having, crowd.looked_at, crowd.of, crowd.exact, now)
        for key, having in count_having(compiled, people, now).items()
    }
