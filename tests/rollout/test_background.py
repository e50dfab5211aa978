"""A large ruleset is made beside serving, and goes again without the cycle collector."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Generator, Iterator

import pytest

from benchmarks.decisions import feature
from benchmarks.workload import flags
from rollout.rules.ruleset.document import read_by_steps, read_ruleset
from rollout.serving.background import release, run_paced


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def document(count: int) -> dict[str, object]:
    audiences = {"big": [[{"trait": "age", "operator": "NUM_GT", "values": [17]}]], "all": [[{"audience": "big"}]]}
    features = {flag.key: feature(flag) for flag in flags(count)}
    second = {**features["feature-001"], "prerequisites": ["feature-000"]}
    return {"version": 1, "published_at": 0, "audiences": audiences, "features": {**features, "feature-001": second}}


def test_ruleset__released__is_freed_by_counts_alone() -> None:
    raw = document(5)
    read_ruleset(raw)
    gc.collect()
    gc.disable()

    ruleset = read_ruleset(raw)
    marks = [weakref.ref(compiled.decide) for compiled in ruleset.features.values()]
    del ruleset

    assert [mark() for mark in marks] == [None] * 5
    assert gc.collect() == 0


def test_run_paced__a_large_ruleset__is_the_same_and_leaves_the_collector_on() -> None:
    raw = document(500)

    ruleset = run_paced(read_by_steps(raw))

    assert list(ruleset.features) == list(read_ruleset(raw).features)
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_run_paced__a_small_ruleset__sets_nothing_apart() -> None:
    gc.unfreeze()

    run_paced(read_by_steps(document(2)))

    assert gc.get_freeze_count() == 0


def test_run_paced__steps_that_fail__raise_and_leave_the_collector_on() -> None:
    def failing() -> Generator[None, None, None]:
        yield
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        run_paced(failing())

    assert gc.isenabled()


def test_run_paced__many_steps__lets_other_threads_run_in_between() -> None:
    turns = []

    def busy() -> Generator[None, None, None]:
        until = time.perf_counter() + 0.1
        while time.perf_counter() < until:
            yield

    working = threading.Thread(target=lambda: run_paced(busy()))
    working.start()
    while working.is_alive():
        time.sleep(0.0001)
        turns.append(time.perf_counter())

    assert len(turns) > 10  # 5 ms each, were the interpreter only handed over when it is asked for


def test_release__a_list_of_things__holds_none_of_them() -> None:
    class Thing:
        pass

    things = [Thing() for _ in range(10)]
    marks = [weakref.ref(each) for each in things]

    release(things)

    assert things == []
    assert all(mark() is None for mark in marks)
