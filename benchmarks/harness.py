"""What every benchmark shares: the command line, medians, goals, facts of the machine, and the report.

A benchmark is a module with `measure() -> Measured` that ends with `main("name", measure, GOALS)`. With `--json` it
prints one JSON object: `{"name", "figures", "goals", "peers", "machine", "notes", "ok"}`; otherwise a readable table.
The exit status is 0 whether or not the goals are met, unless `--strict` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure must be at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def met(self, figure: float) -> bool:
        return (self.least is None or figure >= self.least) and (self.most is None or figure <= self.most)

    def as_json(self) -> dict[str, float]:
        ends = {"min": self.least, "max": self.most}
        return {name: end for name, end in ends.items() if end is not None}


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures by name; peers by name, each with its figures or with `{"skipped": why}`; sentences for the reader."""

    figures: Mapping[str, Any]
    peers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def median_of(run: Callable[[], float], runs: int) -> float:
    """The median of what `run` returns, called `runs` times."""
    return statistics.median(run() for _ in range(runs))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that `share` of all values don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process for the work: what other processes do meanwhile doesn't count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def machine() -> dict[str, Any]:
    """What the figures depend on. `load` is the load average of the last minute, for which 0 is a quiet machine."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def report(name: str, measured: Measured, goals: Mapping[str, Goal], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The one object. A goal whose figure is missing isn't met."""
    figures = measured.figures
    return {
        "name": name,
        "figures": figures,
        "goals": {key: goal.as_json() for key, goal in goals.items()},
        "missed": [key for key, goal in goals.items() if key not in figures or not goal.met(figures[key])],
        "peers": measured.peers,
        "machine": {**facts, "load_after": round(os.getloadavg()[0], 2)},
        "notes": list(measured.notes),
        "ok": all(key in figures and goal.met(figures[key]) for key, goal in goals.items()),
    }


def main(name: str, measure: Callable[[], Measured], goals: Mapping[str, Goal]) -> None:
    """Measure and print, from the command line's arguments."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    arguments = parser.parse_args()
    facts = machine()
    done = report(name, measure(), goals, facts)
    print(json.dumps(done) if arguments.json else table(done))
    sys.exit(1 if arguments.strict and not done["ok"] else 0)


def table(done: Mapping[str, Any]) -> str:
    """The report for people."""
    facts = done["machine"]
    lines = [
        f"{done['name']}: {'all goals met' if done['ok'] else 'missed: ' + ', '.join(done['missed'])}",
        f"  {facts['cores']} × {facts['cpu']}, Python {facts['python']}, load {facts['load']} → {facts['load_after']}",
    ]
    for key, figure in done["figures"].items():
        goal = done["goals"].get(key, {})
        wanted = " and ".join(f"{'≥' if end == 'min' else '≤'} {_number(value)}" for end, value in goal.items())
        sign = "" if not goal else "✗ " if key in done["missed"] else "✓ "
        lines.append(f"  {key:<28}{_number(figure):>16}  {sign}{wanted}".rstrip())
    for peer, figures in done["peers"].items():
        told = ", ".join(f"{key} {_number(value)}" for key, value in figures.items())
        lines.append(f"  {peer:<28}{told}")
    return "\n".join([*lines, *(f"  {note}" for note in done["notes"])])


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
