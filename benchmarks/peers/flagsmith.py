"""flagsmith-flag-engine on the workload: one segment of five rules a feature, whose override switches it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flag_engine.engine import get_evaluation_result

from benchmarks.peers.turns import serve
from benchmarks.workload import Flag, Person, flags


def every(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "ALL", "conditions": list(conditions), "rules": []}


def is_in(name: str, values: Sequence[str]) -> dict[str, Any]:
    return {"property": name, "operator": "IN", "value": list(values)}


def split(percent: int) -> dict[str, Any]:
    return {"property": "", "operator": "PERCENTAGE_SPLIT", "value": str(percent)}


def segment(flag: Flag) -> dict[str, Any]:
    newer = {"property": "app_version", "operator": "GREATER_THAN_INCLUSIVE", "value": f"{flag.least_version}:semver"}
    rules = [
        every(is_in("account", flag.allowed)),
        every(is_in("country", flag.countries), split(20)),
        every(is_in("platform", [flag.platform]), newer),
        every(is_in("cohort", flag.cohorts), split(50)),
        every(split(10)),
    ]
    on = {"key": flag.key, "name": flag.key, "enabled": True, "value": None, "priority": 0.0}
    return {
        "key": flag.salt,
        "name": flag.key,
        "rules": [{"type": "ANY", "conditions": [], "rules": rules}],
        "overrides": [on],
    }


def prepare() -> Callable[[Person], Sequence[bool]]:
    keys = [flag.key for flag in flags()]
    features = {key: {"key": key, "name": key, "enabled": False, "value": None} for key in keys}
    segments = {flag.key: segment(flag) for flag in flags()}

    def decide(person: Person) -> Sequence[bool]:
        context: Any = {
            "environment": {"key": "benchmark", "name": "benchmark"},
            "identity": {"identifier": person.id, "key": person.id, "traits": person.traits},
            "features": features,
            "segments": segments,
        }
        found = get_evaluation_result(context)["flags"]
        return [found[key]["enabled"] for key in keys]

    return decide


if __name__ == "__main__":
    serve("flagsmith-flag-engine", prepare)
