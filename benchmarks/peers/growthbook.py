"""GrowthBook on the workload: five force rules a feature, with coverage by the person's id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from growthbook import GrowthBook

from benchmarks.peers.turns import serve
from benchmarks.workload import Flag, Person, flags


def rule(flag: Flag, coverage: float | None, **condition: Any) -> dict[str, Any]:
    covered = {"coverage": coverage, "hashAttribute": "id", "seed": flag.salt, "hashVersion": 2}
    return {"force": True, **({"condition": condition} if condition else {}), **(covered if coverage else {})}


def feature(flag: Flag) -> dict[str, Any]:
    return {
        "defaultValue": False,
        "rules": [
            rule(flag, None, account={"$in": list(flag.allowed)}),
            rule(flag, 0.2, country={"$in": list(flag.countries)}),
            rule(flag, None, platform=flag.platform, app_version={"$vgte": flag.least_version}),
            rule(flag, 0.5, cohort={"$in": list(flag.cohorts)}),
            rule(flag, 0.1),
        ],
    }


def prepare() -> Callable[[Person], Sequence[bool]]:
    engine = GrowthBook(features={flag.key: feature(flag) for flag in flags()})
    keys = [flag.key for flag in flags()]

    def decide(person: Person) -> Sequence[bool]:
        engine.set_attributes({"id": person.id, **person.traits})
        return [engine.is_on(key) for key in keys]

    return decide


if __name__ == "__main__":
    serve("growthbook", prepare)
