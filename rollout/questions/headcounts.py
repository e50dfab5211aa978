"""How many people have each feature: counted when asked while there are few people, else as the worker counted last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rollout.models import Feature, Wave
from rollout.models import Headcount as HeadcountRow
from rollout.questions.evaluate import current
from rollout.questions.people import choose, more_than, tables
from rollout.rules.bulk.evaluation import holdings_needed, traits_needed
from rollout.rules.bulk.headcount import Headcount, WaveSize, count_having, count_members
from rollout.rules.decision.decision import Ruleset
from rollout.rules.definition.audience import parse_any_of, traits_in

COUNTED_WHEN_ASKED = 2_000  # people: a few milliseconds
EXACT_UP_TO = 1_000_000  # people: some seconds of a worker
EXACT_IN_A_DIALOG = 100_000  # people: half a second of the request that asks


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


def wave_size(wave: Wave, now: datetime) -> WaveSize | None:
    """How many people the wave is for. None while its feature isn't published."""
    ruleset = current()
    compiled = ruleset.features.get(wave.feature.key)
    if compiled is None:
        return None
    any_of = parse_any_of(wave.any_of, "any_of", strict=False)
    crowd = choose(EXACT_IN_A_DIALOG)
    traits = traits_needed([compiled]) | traits_in(any_of, compiled.audiences)
    grants = holdings_needed([compiled]) | {wave.feature.key}
    people = tables(crowd, traits=traits, grants=grants, areas=ruleset.areas)
    members, holding = count_members(compiled, any_of, wave.share_ppm, people, now)
    found = (Headcount(n, crowd.looked_at, crowd.of, crowd.exact, now) for n in (members, holding))
    return WaveSize(*found)
