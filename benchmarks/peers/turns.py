"""How a peer takes its turns: it says that it is ready, then measures once for each line on its standard input."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.workload import FEATURES, Person, people

LEAST_SECONDS = 0.4  # of processor time, for one turn


def say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


def serve(distribution: str, prepare: Callable[[], Callable[[Person], Sequence[bool]]], *, notes: str = "") -> None:
    """`prepare` gives a function that decides every flag for a person: whether each is on."""
    try:
        decide = prepare()
        everybody = people()
        some = everybody[:100]
        on = sum(sum(decide(person)) for person in some)
    except Exception as error:
        say({"skipped": f"{type(error).__name__}: {error}"[:300]})
        return
    told = {"version": importlib.metadata.version(distribution), "enabled_share": on / (len(some) * FEATURES)}
    say({**told, **({"notes": notes} if notes else {})})
    for _ in sys.stdin:
        say({"evals_per_s": rate(decide, everybody)})


def rate(decide: Callable[[Person], Sequence[bool]], everybody: Sequence[Person]) -> float:
    """Decisions per second of processor time."""
    start = time.process_time()
    bulks = 0
    while True:
        for person in everybody[bulks % len(everybody) : bulks % len(everybody) + 10]:
            decide(person)
            bulks += 1
        spent = time.process_time() - start
        if spent >= LEAST_SECONDS:
            return bulks * FEATURES / spent
