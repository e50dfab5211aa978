"""What a phone says: one JSON event per line for programs, whole sentences for people."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

RESERVED = frozenset({"event", "at"})


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Reporter:
    """Prints events in the order in which they happen. `listen` gives each event to a function as well (for tests)."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, name: str = "", quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = out or sys.stdout
        self.name = name
        self.listeners: list[Callable[[dict[str, Any]], None]] = []

    def say(self, event: str, sentence: str, **fields: Any) -> None:
        """Tell that something happened: `fields` for programs (without those that are None), `sentence` for people."""
        self._tell(event, sentence, {key: value for key, value in fields.items() if value is not None})

    def _tell(self, event: str, sentence: str, fields: Mapping[str, Any]) -> None:
        body: dict[str, Any] = {"event": event, "at": now_ms(), **fields}
        if self.name:
            body["name"] = self.name
        for listener in self.listeners:
            listener(body)
        if self.quiet:
            return
        try:
            if self.as_json:
                print(json.dumps(body, ensure_ascii=False), file=self.out, flush=True)
            elif sentence:
                prefix = f"{self.name}: " if self.name else ""
                print(f"{time.strftime('%H:%M:%S')}  {prefix}{sentence}", file=self.out, flush=True)
        except BrokenPipeError:
            self.quiet = True  # nobody reads any more; the phone ends when its input ends

    def refused(self, problem: Mapping[str, Any], *, op: str, ref: str | None = None, call: str | None = None) -> None:
        """A refusal of the server or of this phone itself, with the problem's code and everything that came with it."""
        about = {key: value for key, value in {"op": op, "ref": ref, "call": call}.items() if value is not None}
        extra = {key: value for key, value in problem.items() if key not in RESERVED}
        sentence = f"{problem.get('detail', 'It was refused.')} ({problem.get('code')})"
        self._tell("refused", sentence, {**about, **extra})
