"""Decisions in process on one core: 100 features of five rules, through `decide_all`, which OFREP's bulk uses.

`evals_per_s` counts decisions per second of processor time, so that a busy machine doesn't distort it, in turns with
the peers. `bulk100_p99_ms` is the wall-clock time of a whole bulk of 100, of a thousand people; the median of the
rounds' p99 counts. Where other processes want the same core, it shows them: `bulk100_p99_cpu_ms` doesn't.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

from benchmarks.harness import Goal, Measured, cpu_seconds, main, percentile
from benchmarks.peering import alternate
from benchmarks.workload import Flag, flags, people
from rollout.rules.decision.decision import Party, Ruleset, decide, decide_all
from rollout.rules.ruleset.document import read_ruleset

GOALS = {"evals_per_s": Goal(least=1_000_000), "bulk100_p99_ms": Goal(most=0.15)}
NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
BULKS = 2_000
ROUNDS = 9
LATENCY_ROUNDS = 25


def feature(flag: Flag) -> dict[str, Any]:
    """The flag as Rollcall writes it."""

    def is_in(trait: str, *values: str) -> dict[str, Any]:
        return {"trait": trait, "operator": "IN", "values": list(values)}

    newer = {"trait": "app_version", "operator": "SEMVER_GTE", "values": [flag.least_version]}
    return {
        "key": flag.key,
        "kind": "boolean",
        "salt": flag.salt,
        "switch": "on",
        "access": "rules",
        "rules": [
            {"name": "allow list", "any_of": [[is_in("account", *flag.allowed)]]},
            {"name": "countries", "any_of": [[is_in("country", *flag.countries)]], "share_ppm": 200_000},
            {"name": "platform", "any_of": [[is_in("platform", flag.platform), newer]]},
            {"name": "cohort", "any_of": [[is_in("cohort", *flag.cohorts)]], "share_ppm": 500_000},
            {"name": "a tenth", "share_ppm": 100_000},
        ],
    }


def ruleset() -> Ruleset:
    features = {flag.key: feature(flag) for flag in flags()}
    return read_ruleset({"version": 1, "published_at": 0, "features": features})


def parties() -> list[Party]:
    return [Party(person.id, person.traits) for person in people()]


def bulks_per_cpu_second(rules: Ruleset, everybody: list[Party]) -> float:
    features = tuple(rules.features.values())

    def work() -> None:
        for party in islice(cycle(everybody), BULKS):
            decide_all(features, party, NOW)

    return BULKS / cpu_seconds(work)


def singles_per_cpu_second(rules: Ruleset, everybody: list[Party]) -> float:
    keys = list(rules.features)

    def work() -> None:
        for party in everybody[:200]:
            for key in keys:
                decide(rules, key, party, NOW)

    return 200 * len(keys) / cpu_seconds(work)


def bulk_p99_ms(rules: Ruleset, everybody: list[Party], clock: Callable[[], float]) -> float:
    features, spans = tuple(rules.features.values()), []
    for party in everybody:
        start = clock()
        decide_all(features, party, NOW)
        spans.append(clock() - start)
    return percentile(spans, 0.99) * 1000


def measure() -> Measured:
    rules, everybody = ruleset(), parties()
    gc.freeze()
    own: list[float] = []
    singles: list[float] = []

    def round_of_ours() -> None:
        own.append(bulks_per_cpu_second(rules, everybody) * len(rules.features))
        singles.append(singles_per_cpu_second(rules, everybody))

    round_of_ours()  # warms up
    own.clear()
    singles.clear()
    peers = alternate(round_of_ours, ROUNDS)
    p99 = [bulk_p99_ms(rules, everybody, time.perf_counter) for _ in range(LATENCY_ROUNDS)]
    p99_cpu = [bulk_p99_ms(rules, everybody, time.thread_time) for _ in range(LATENCY_ROUNDS)]
    decisions = [decide_all(rules.features.values(), party, NOW) for party in everybody]
    enabled = sum(decision.enabled for bulk in decisions for decision in bulk)
    rate = statistics.median(own)
    figures = {
        "evals_per_s": round(rate),
        "bulk100_p99_ms": round(statistics.median(p99), 4),
        "bulk100_p99_ms_quietest": round(min(p99), 4),
        "bulk100_p99_cpu_ms": round(statistics.median(p99_cpu), 4),
        "single_evals_per_s": round(statistics.median(singles)),
        "enabled_share": round(enabled / (len(everybody) * len(rules.features)), 4),
    }
    for told in peers.values():
        if "evals_per_s" in told:
            told["times_ours"] = round(told["evals_per_s"] / rate, 4)
    return Measured(figures, peers)


if __name__ == "__main__":
    main("decisions", measure, GOALS)
