"""A limit on how often somebody may ask, kept in this process's memory: for reading, never for money or codes."""

from __future__ import annotations

import math
from collections import OrderedDict

MOST_CALLERS = 50_000


class Pace:
    """`per_second` on average and `burst` at once, for each caller (the generic cell rate algorithm)."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._step = 1 / per_second
        self._slack = self._step * (burst - 1)
        self._due: OrderedDict[str, float] = OrderedDict()

    def take(self, caller: str, now: float) -> int:
        """0 when the request may pass, else after how many whole seconds to try again. `now` in seconds."""
        due = min(max(self._due.get(caller, now), now), now + self._slack + self._step)  # the clock may be set back
        if due - now > self._slack + 1e-9:
            return max(1, math.ceil(due - now - self._slack))
        self._due[caller] = due + self._step
        self._due.move_to_end(caller)
        if len(self._due) > MOST_CALLERS:
            self._due.popitem(last=False)
        return 0
