"""Statsig's Rust core on the workload: one gate of five rules a feature, from a data store, without network.

A rule of Statsig whose audience matches decides by its share, and doesn't fall through when the share misses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from statsig_python_core import DataStore, DataStoreResponse, Statsig, StatsigOptions, StatsigUser

from benchmarks.peers.turns import serve
from benchmarks.workload import Flag, Person, flags

CONDITIONS: dict[str, dict[str, Any]] = {}


def condition(kind: str, operator: str | None, field: str | None, target: Any) -> str:
    """The name that a rule knows it by."""
    name = f"c{len(CONDITIONS)}"
    CONDITIONS[name] = {
        "type": kind,
        "operator": operator,
        "field": field,
        "targetValue": target,
        "additionalValues": {"custom_field": field} if field else {},
        "isDeviceBased": False,
        "idType": "userID",
    }
    return name


def is_in(field: str, values: Sequence[str]) -> str:
    return condition("user_field", "any", field, list(values))


def rule(flag: Flag, index: int, percent: int, *conditions: str) -> dict[str, Any]:
    return {
        "name": f"rule {index}",
        "id": f"{flag.key}-{index}",
        "salt": f"{flag.salt}-{index}",
        "passPercentage": percent,
        "conditions": list(conditions),
        "returnValue": True,
        "isDeviceBased": False,
        "idType": "userID",
        "groupName": None,
    }


def gate(flag: Flag) -> dict[str, Any]:
    return {
        "name": flag.key,
        "type": "feature_gate",
        "entity": "feature_gate",
        "salt": flag.salt,
        "enabled": True,
        "defaultValue": False,
        "isDeviceBased": False,
        "idType": "userID",
        "version": 1,
        "rules": [
            rule(flag, 0, 100, is_in("account", flag.allowed)),
            rule(flag, 1, 20, is_in("country", flag.countries)),
            rule(
                flag,
                2,
                100,
                is_in("platform", [flag.platform]),
                condition("user_field", "version_gte", "app_version", flag.least_version),
            ),
            rule(flag, 3, 50, is_in("cohort", flag.cohorts)),
            rule(flag, 4, 10, condition("public", None, None, None)),
        ],
    }


class Store(DataStore):  # type: ignore[misc]  # the package has no types for it
    def __init__(self, specs: str) -> None:
        super().__init__()
        self._specs = specs

    def get(self, key: str) -> DataStoreResponse:
        return DataStoreResponse(result=self._specs, time=1)

    def support_polling_updates_for(self, key: str) -> bool:
        return False


def prepare() -> Callable[[Person], Sequence[bool]]:
    gates = {flag.key: gate(flag) for flag in flags()}
    specs = {
        "feature_gates": gates,
        "dynamic_configs": {},
        "layer_configs": {},
        "condition_map": CONDITIONS,
        "experiment_to_layer": {},
        "has_updates": True,
        "time": 1,
    }
    options = StatsigOptions()
    options.disable_network = True
    options.disable_all_logging = True
    options.data_store = Store(json.dumps(specs))
    engine = Statsig("secret-benchmark", options)
    engine.initialize().wait()
    keys = list(gates)

    def decide(person: Person) -> Sequence[bool]:
        user = StatsigUser(user_id=person.id, custom=dict(person.traits))
        return [engine.check_gate(user, key) for key in keys]

    on = sum(decide(Person("somebody", {"account": flags()[0].allowed[0]})))
    if not on:
        raise RuntimeError("it did not take the specifications: nobody has anything")
    return decide


if __name__ == "__main__":
    serve("statsig-python-core", prepare, notes="a matching rule doesn't fall through")
