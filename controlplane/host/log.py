"""The supervisor's one readable log."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from datetime import UTC, datetime

LONGEST_SILENCE = 4.0  # seconds of a start without a line


class Log:
    """`time  process  line` on stdout, from any thread. With `as_json`, one object a line.

    As long as something is `awaited`, no silence is longer than five seconds, once `keep_saying` was called.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.awaited = ""
        self._spoke = time.monotonic()
        self._lock = threading.Lock()
        self._json = as_json
        self._colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def __call__(self, process: str, line: str) -> None:
        now = datetime.now(tz=UTC).astimezone()
        if self._json:
            text = (
                line if line.startswith("{") else json.dumps({"at": now.isoformat(), "process": process, "event": line})
            )
        else:
            text = f"{now:%H:%M:%S}.{now.microsecond // 1000:03}  {process:<9} {line}"
            if self._colour and line.startswith(("ERROR", "CRITICAL", "Traceback", "FATAL", "PANIC")):
                text = f"\033[31m{text}\033[0m"
        with self._lock:
            self._spoke = time.monotonic()
            try:
                print(text, flush=True)
            except OSError:  # whoever read our log is gone; that is no reason to stop
                pass

    def keep_saying(self) -> None:
        def speak() -> None:
            while True:
                time.sleep(0.5)
                if self.awaited and time.monotonic() - self._spoke > LONGEST_SILENCE:
                    self("rollcall", f"… waiting for {self.awaited}")

        threading.Thread(target=speak, name="what is awaited", daemon=True).start()
