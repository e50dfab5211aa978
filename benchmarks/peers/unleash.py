"""UnleashClient on the workload: five strategies a feature, from a bootstrapped cache, without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache

from benchmarks.peers.turns import serve
from benchmarks.workload import Flag, Person, flags


def strategy(rollout: int, *constraints: dict[str, Any]) -> dict[str, Any]:
    parameters = {"rollout": str(rollout), "stickiness": "userId", "groupId": ""}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": list(constraints)}


def is_in(name: str, values: Sequence[str]) -> dict[str, Any]:
    return {"contextName": name, "operator": "IN", "values": list(values)}


def feature(flag: Flag) -> dict[str, Any]:
    # "Not lower" is how versions up to 6 say "from … on".
    newer = {"contextName": "app_version", "operator": "SEMVER_LT", "value": flag.least_version, "inverted": True}
    strategies = [
        strategy(100, is_in("account", flag.allowed)),
        strategy(20, is_in("country", flag.countries)),
        strategy(100, is_in("platform", [flag.platform]), newer),
        strategy(50, is_in("cohort", flag.cohorts)),
        strategy(10),
    ]
    for each in strategies:
        each["parameters"]["groupId"] = flag.key
    return {"name": flag.key, "type": "release", "enabled": True, "strategies": strategies}


def prepare() -> Callable[[Person], Sequence[bool]]:
    cache = FileCache("benchmark", directory=tempfile.mkdtemp())
    cache.bootstrap_from_dict({"version": 2, "features": [feature(flag) for flag in flags()]})
    client = UnleashClient(
        "http://127.0.0.1:9/api", "benchmark", cache=cache, disable_metrics=True, disable_registration=True
    )
    client.initialize_client(fetch_toggles=False)
    keys = [flag.key for flag in flags()]

    def decide(person: Person) -> Sequence[bool]:
        context = {"userId": person.id, "properties": person.traits}
        return [client.is_enabled(key, context) for key in keys]

    return decide


if __name__ == "__main__":
    serve("UnleashClient", prepare)
