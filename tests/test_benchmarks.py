"""What the benchmarks share: goals, percentiles and the report. The figures themselves are measured by `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import names
from benchmarks.harness import Goal, Measured, machine, percentile, report, table

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("goal", "figure", "met"),
    [(Goal(least=5), 5, True), (Goal(least=5), 4.9, False), (Goal(most=5), 5, True), (Goal(most=5), 5.1, False)],
)
def test_goal__a_figure_at_and_beyond_its_end__is_met_or_not(goal: Goal, figure: float, met: bool) -> None:
    assert goal.met(figure) is met


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (0.995, 100), (1, 100), (0.001, 1)])
def test_percentile__of_a_hundred_values__is_the_nearest_rank(share: float, value: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_report__with_a_missed_and_a_missing_figure__names_both() -> None:
    goals = {"quick": Goal(most=1), "many": Goal(least=9), "gone": Goal(most=1)}

    done = report("test", Measured({"quick": 0.5, "many": 8}, notes=["A note."]), goals, machine())

    assert done["ok"] is False
    assert done["missed"] == ["many", "gone"]
    assert done["goals"]["many"] == {"min": 9}
    assert "missed: many, gone" in table(json.loads(json.dumps(done)))


def test_names__of_this_folder__are_the_modules_with_goals() -> None:
    assert {"decisions", "bulk", "swap"} <= set(names())
    assert "harness" not in names()


def test_runner__of_an_unknown_name__says_which_there_are() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "nonsense"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "decisions" in ran.stderr
