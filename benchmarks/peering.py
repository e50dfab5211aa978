"""Peers beside us: each a process of its own in `.venv-peers`, which takes a turn after each of ours (ABAB).

`make bench-peers` installs them. One that is missing, or breaks, is skipped with the reason.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import ROOT

PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PEERS = {
    "UnleashClient": "unleash",
    "flagsmith-flag-engine": "flagsmith",
    "growthbook": "growthbook",
    "statsig-python-core": "statsig",
    "django-waffle": "waffle",
}


@dataclass(slots=True)
class Peer:
    """A peer's process, between two of its turns."""

    process: subprocess.Popen[str]
    told: dict[str, Any]
    rates: list[float] = field(default_factory=list)

    def turn(self) -> None:
        if "skipped" in self.told:
            return
        answer = self._ask("turn")
        if "skipped" in answer:
            self.told = answer
        else:
            self.rates.append(answer["evals_per_s"])

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it says below why
        return hear(self.process)

    def end(self) -> dict[str, Any]:
        """What to report: the median of its turns, with its version and remarks."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(20)
        return {**self.told, **({"evals_per_s": round(statistics.median(self.rates))} if self.rates else {})}


def hear(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next JSON object that the peer says; whatever else it prints is passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
    return {"skipped": f"it ended with status {process.wait(20)}"}


def start(module: str) -> Peer:
    process = subprocess.Popen(
        [str(PYTHON), "-m", f"benchmarks.peers.{module}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return Peer(process, hear(process))


def alternate(ours: Callable[[], None], rounds: int) -> dict[str, dict[str, Any]]:
    """So many rounds of ours and then of every peer; what the peers have to report, by their names."""
    peers: dict[str, Peer] = {}
    if PYTHON.exists():
        peers = {name: start(module) for name, module in PEERS.items()}
    for _ in range(rounds):
        ours()
        for peer in peers.values():
            peer.turn()
    if not peers:
        return {name: {"skipped": "not installed: run `make bench-peers` first"} for name in PEERS}
    return {name: peer.end() for name, peer in peers.items()}
