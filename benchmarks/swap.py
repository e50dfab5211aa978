"""Compile and swap 1,000 features of 10 rules while a server answers: how long, and how long the slowest request takes.

The server is a process of its own (`benchmarks.swap_server`), asked for bulks of 100 about 300 times a second over
loopback. A swap lasts from the signed bytes to the new ruleset's first decision. `worst_request_ms` is the median over
the swaps of the slowest request of each, until the old ruleset is freed too; the same without any swap stands beside.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

from benchmarks.harness import ROOT, Goal, Measured, main, percentile

GOALS = {"swap_s": Goal(most=1), "worst_request_ms": Goal(most=20)}
SWAPS = 9
PAUSE = 0.002  # seconds between two requests


class Client:
    """One connection that stays open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, path: str) -> bytes:
        self._connection.request("POST", path, b"{}")
        return self._connection.getresponse().read()

    def spans_until(self, over: threading.Event) -> list[float]:
        """Request after request; how long each took, in milliseconds."""
        spans = []
        while not over.is_set():
            start = time.perf_counter()
            self.post("/")
            spans.append((time.perf_counter() - start) * 1000)
            time.sleep(PAUSE)
        return spans


def swapped(port: int, client: Client) -> tuple[dict[str, Any], list[float]]:
    """One swap, and the requests meanwhile."""
    over, told = threading.Event(), dict[str, Any]()

    def swap() -> None:
        told.update(json.loads(Client(port).post("/swap")))
        over.set()

    working = threading.Thread(target=swap)
    working.start()
    spans = client.spans_until(over)
    working.join()
    return told, spans


def undisturbed(client: Client, seconds: float) -> list[float]:
    over = threading.Event()
    threading.Timer(seconds, over.set).start()
    return client.spans_until(over)


def measure() -> Measured:
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.swap_server"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        client = Client(port)
        undisturbed(client, 0.5)  # warms up
        swaps, worst, quiet, spans = [], [], [], []
        for _ in range(SWAPS):
            told, during = swapped(port, client)
            swaps.append(told)
            worst.append(max(during))
            spans += during
            quiet.append(max(undisturbed(client, told["swap_s"])))
    finally:
        server.terminate()
        server.wait(10)
    return Measured(
        {
            "swap_s": round(statistics.median(each["swap_s"] for each in swaps), 3),
            "swap_s_slowest": round(max(each["swap_s"] for each in swaps), 3),
            "swap_cpu_s": round(statistics.median(each["cpu_s"] for each in swaps), 3),
            "worst_request_ms": round(statistics.median(worst), 2),
            "worst_request_ms_of_all": round(max(worst), 2),
            "worst_request_ms_without_swap": round(statistics.median(quiet), 2),
            "request_p99_ms": round(percentile(spans, 0.99), 2),
            "requests": len(spans),
            "megabytes": round(swaps[0]["bytes"] / 1e6, 2),
        }
    )


if __name__ == "__main__":
    main("swap", measure, GOALS)
