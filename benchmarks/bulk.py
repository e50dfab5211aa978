"""Ten million subscribers through one feature with three clauses and a share, on one core, with `evaluate_many`.

Ids are UUIDs of 16 bytes, traits are dictionary-encoded columns (country, platform and version), as a preview reads
them. The subscribers are made before the clock starts; the figure is processor time, and the wall clock stands beside.
"""

from __future__ import annotations

import resource
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.harness import Goal, Measured, main
from benchmarks.workload import COUNTRIES, PLATFORMS, VERSIONS
from rollout.rules.bulk.evaluation import evaluate_many
from rollout.rules.bulk.table import Coded, read_table
from rollout.rules.decision.decision import Compiled, decide
from rollout.rules.ruleset.document import read_ruleset

GOALS = {"seconds_10m": Goal(most=3)}
NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
PEOPLE = 10_000_000
CHECKED = 2_000  # rows that are compared with `decide`
RUNS = 5

FEATURE = {
    "key": "voice-calls",
    "kind": "boolean",
    "salt": "a1b2c3d4e5f60718",
    "switch": "on",
    "access": "rules",
    "rules": [
        {
            "name": "a quarter of new phones",
            "any_of": [
                [
                    {"trait": "country", "operator": "IN", "values": ["DE", "AT", "CH", "BR", "IN", "US"]},
                    {"trait": "platform", "operator": "IN", "values": ["android", "ios"]},
                    {"trait": "app_version", "operator": "SEMVER_GTE", "values": ["2.11.0"]},
                ]
            ],
            "share_ppm": 250_000,
        }
    ],
}


def subscribers(count: int) -> dict[str, Any]:
    """The same ones each time: 19 bytes each."""
    dice = np.random.default_rng(5)

    def coded(categories: tuple[str, ...]) -> Coded:
        return Coded(categories, dice.integers(-1, len(categories), count, dtype=np.int8))  # some are missing

    return {
        "subscriber": dice.integers(0, 256, (count, 16), dtype=np.uint8),
        "country": coded(COUNTRIES),
        "platform": coded(PLATFORMS),
        "app_version": coded(VERSIONS),
    }


def differences(feature: Compiled, people: dict[str, Any], outcome: Any) -> int:
    """Of some rows, how many `decide` answers otherwise."""
    table = read_table(people)
    ruleset = read_ruleset({"version": 1, "published_at": 0, "features": {FEATURE["key"]: FEATURE}})
    rows = range(0, PEOPLE, PEOPLE // CHECKED)
    return sum(decide(ruleset, "voice-calls", table.party(row), NOW).enabled != bool(outcome[row]) for row in rows)


def measure() -> Measured:
    people = subscribers(PEOPLE)
    document = {"version": 1, "published_at": 0, "features": {FEATURE["key"]: FEATURE}}
    feature = read_ruleset(document).features["voice-calls"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluate_many(feature, subscribers(100_000), NOW)  # warms up
    cpu, wall = [], []
    for _ in range(RUNS):
        start, started = time.process_time(), time.perf_counter()
        verdicts = evaluate_many(feature, people, NOW)
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - started)
    enabled = verdicts.enabled
    seconds = statistics.median(cpu)
    return Measured(
        {
            "seconds_10m": round(seconds, 3),
            "wall_seconds_10m": round(statistics.median(wall), 3),
            "evals_per_s": round(PEOPLE / seconds),
            "enabled_share": round(float(enabled.mean()), 5),
            "extra_memory_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
            "rows_otherwise_than_decide": differences(feature, people, enabled),
        }
    )


if __name__ == "__main__":
    main("bulk", measure, GOALS)
