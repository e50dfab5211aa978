"""Long work beside serving: in a thread that hands the interpreter over again and again.

Without this, a thread keeps the interpreter for 5 ms whenever a request lets go of it, and the garbage collector, which
looks at every object there is, stops the process for a tenth of a second once a large ruleset has been made.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

SPELL = 0.001  # seconds of work between two breaths
BREATH = 0.0002  # seconds; any sleep at all hands over, the longer the surer
MANY = 50_000  # objects that the collector shall not look at again and again


def run_paced(steps: Generator[None, None, T]) -> T:
    """What the steps come to. Call it in a thread; no step should take longer than a few milliseconds.

    Meanwhile the cycle collector rests (reference counts do most of the work as ever). When many objects have been
    made, they and all there were before are set apart from it: they are freed by their counts, as a ruleset is, which
    holds no cycles. Raises whatever the steps raise.
    """
    collecting = gc.isenabled()
    gc.collect(1)  # young cycles shall not be set apart
    gc.disable()
    try:
        return _paced(steps)
    finally:
        if gc.get_count()[0] > MANY:
            gc.freeze()
        if collecting:
            gc.enable()


def release(things: list[Any]) -> None:
    """Empty the list, and with it whatever only it held, without stopping the process for long. Call it in a thread."""
    until = time.perf_counter() + SPELL
    while things:
        things.pop()
        if time.perf_counter() > until:
            time.sleep(BREATH)
            until = time.perf_counter() + SPELL


def _paced(steps: Generator[None, None, T]) -> T:
    until = time.perf_counter() + SPELL
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if time.perf_counter() > until:
            time.sleep(BREATH)
            until = time.perf_counter() + SPELL
