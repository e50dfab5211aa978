"""Phones as separate processes: commands go in as JSON lines, events come out as JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from story.progress import progress


class PhoneFailed(Exception):
    """A phone process ended or did not do in time what the story waits for."""


class Phone:
    """One phone process, with a folder of its own, which is told only a base URL."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, url: str, options: Sequence[str]) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log = (folder / "phone.log").open("w", encoding="utf-8")
        self.events: list[dict[str, Any]] = []
        self.arrived = threading.Condition()
        self.process = subprocess.Popen(
            [*command, "--url", url, "--folder", str(folder), "--json", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            try:
                event = json.loads(line)
            except ValueError:
                continue
            with self.arrived:
                self.events.append(event)
                self.arrived.notify_all()
        with self.arrived:
            self.events.append({"event": "process_ended", "at": time.time_ns() // 1_000_000})
            self.arrived.notify_all()

    def do(self, verb: str, **more: object) -> int:
        """Tell the phone to do something; returns a mark, to wait for events that come after it."""
        mark = len(self.events)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": verb, **more}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise PhoneFailed(f"{self.name}'s phone has ended; its log is {self.folder / 'phone.log'}.") from error
        return mark

    def wait(self, *names: str, after: int = 0, seconds: float = 20) -> dict[str, Any]:
        """The first event with one of the names after the mark. Raises `PhoneFailed` when it doesn't come in time."""
        end = time.monotonic() + seconds
        seen = after
        with progress.awaiting(f"{self.name}'s phone to tell of: {', '.join(names)}"), self.arrived:
            while True:
                for event in self.events[seen:]:
                    seen += 1
                    if event["event"] in names:
                        return event
                    if event["event"] == "process_ended":
                        raise PhoneFailed(f"{self.name}'s phone has ended; its log is {self.folder / 'phone.log'}.")
                left = end - time.monotonic()
                if left <= 0:
                    heard = [event["event"] for event in self.events[after:]]
                    raise PhoneFailed(f"{self.name}'s phone told nothing of {names} in {seconds} s, but {heard}.")
                self.arrived.wait(left)

    def mark(self) -> int:
        return len(self.events)

    def quit(self) -> None:
        """Tell the phone to end; it takes a moment for it."""
        if self.process.poll() is None:
            try:
                self.do("quit")
            except PhoneFailed:
                pass  # it ended by itself

    def close(self) -> None:
        self.quit()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def phone_command() -> list[str]:
    """How a phone is started: the project's own command line, in this interpreter."""
    return [sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py"), "phone"]
