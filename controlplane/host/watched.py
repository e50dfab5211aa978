"""One supervised process: started, found ready, restarted with a growing pause when it dies, stopped when asked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from controlplane.host.child import StartTrouble
from controlplane.host.programs import Program
from controlplane.host.server import Say, Server

FIRST_PAUSE = 0.5  # seconds before the first restart; doubles up to
LONGEST_PAUSE = 30.0
HEALTHY = 60.0  # seconds of life after which the next pause is the first one again
PROBE_EVERY = 0.2  # seconds between two questions whether it is ready


class State(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting to restart"
    ENDING = "ending"
    STOPPED = "stopped"


def next_pause(pause: float, lived: float) -> float:
    """The pause before the next restart, given the one before and how long the process lived (seconds)."""
    if lived >= HEALTHY or pause == 0:
        return FIRST_PAUSE
    return min(pause * 2, LONGEST_PAUSE)


class Watched:
    """All methods belong to the main thread; `state` may be read from any."""

    def __init__(self, program: Program, say: Say, *, on_change: Callable[[], None]) -> None:
        self.program = program
        self.name = program.name
        self.say = say
        self.on_change = on_change
        self.state = State.STOPPED
        self.server: Server | None = None
        self.wanted = False
        self.restarts = 0
        self.trouble: StartTrouble | None = None
        self._strict = False
        self._pause = 0.0
        self._started = 0.0
        self._due = 0.0  # when to restart, or to kill, or to ask again whether it is ready

    @property
    def pid(self) -> int | None:
        return None if self.server is None else self.server.process.pid

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "pid": self.pid, "state": self.state.value, "restarts": self.restarts}

    def start(self, *, strict: bool = False) -> None:
        """Strict: an end before it was ready is a `trouble` to look at, not a reason to restart."""
        self.wanted = True
        self._strict = strict
        self._launch()

    def want(self) -> None:
        """It runs, or is on its way, from now on; a start that was asked for doesn't wait."""
        if self.state in {State.STOPPED, State.WAITING}:
            self._pause = 0.0
            self.wanted = True
            self._launch()
        self.wanted = True

    def stop(self, patience: float) -> None:
        """It is ending afterwards (killed after `patience` seconds), and stays stopped until somebody wants it."""
        self.wanted = False
        self._ask_to_end(patience)

    def restart(self, patience: float) -> None:
        self._pause = 0.0
        if self.server is None:
            self.want()
        else:
            self.wanted = True
            self._ask_to_end(patience)

    def _ask_to_end(self, patience: float) -> None:
        if self.server is None:
            self._become(State.STOPPED)
        elif self.state is not State.ENDING:
            self._due = time.monotonic() + patience
            self.server.process.send_signal(self.program.stop_signal)
            self._become(State.ENDING)

    def kill(self) -> None:
        """It has ended afterwards, with all that it started."""
        if self.server is not None:
            self._kill_group()
            self.server.process.wait(5)
            self._gone()

    def turn(self, now: float) -> None:
        """Whatever time and the process itself ask for."""
        if self.server is not None and self.server.process.poll() is not None:
            self._ended(now)
        elif self.state is State.ENDING and now >= self._due:
            self.say("rollcall", f"{self.name} doesn't end by itself: killed")
            self._kill_group()
            self._due = now + 1
        elif self.state is State.STARTING and now >= self._due:
            self._due = now + PROBE_EVERY
            assert self.server is not None
            if self.program.is_ready(self.server, now - self._started):
                self._strict = False
                self.say("rollcall", f"{self.name} is ready (process {self.pid})")
                self._become(State.RUNNING)
        elif self.state is State.WAITING and now >= self._due:
            self.restarts += 1
            self._launch()

    def _launch(self) -> None:
        self._started = time.monotonic()
        self._due = 0.0
        try:
            self.server = self.program.start()
        except (StartTrouble, OSError) as error:
            trouble = error if isinstance(error, StartTrouble) else StartTrouble("start", f"{self.name}: {error}")
            self._cannot(trouble)
            return
        self._become(State.STARTING)

    def _cannot(self, trouble: StartTrouble) -> None:
        if self._strict:
            self.trouble = trouble
            self.wanted = False
            self._become(State.STOPPED)
        else:
            self.say("rollcall", f"ERROR {trouble.detail}")
            self._wait_to_restart(time.monotonic())

    def _ended(self, now: float) -> None:
        server = self.server
        assert server is not None
        code = server.process.returncode
        self._kill_group()  # what it started may still hold its port
        was = self.state
        self._gone()
        if was is State.ENDING and not self.wanted:
            return
        if was is State.ENDING:
            self._launch()
            return
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        if was is State.STARTING and self._strict:
            why = self.program.why
            trouble = why(server) if why else StartTrouble("start", f"{self.name} ended {how}: {server.last_words()}")
            self._cannot(trouble)
            return
        self.say("rollcall", f"ERROR {self.name} (process {server.process.pid}) ended {how}")
        self._wait_to_restart(now)

    def _wait_to_restart(self, now: float) -> None:
        self._pause = next_pause(self._pause, now - self._started)
        self._due = now + self._pause
        self.say("rollcall", f"{self.name} starts again in {self._pause:g} s")
        self._become(State.WAITING)

    def _kill_group(self) -> None:
        if self.server is not None:
            try:
                os.killpg(self.server.process.pid, signal.SIGKILL)  # a session of its own: its group bears its number
            except (ProcessLookupError, PermissionError):
                pass

    def _gone(self) -> None:
        self.server = None
        self._become(State.STOPPED)

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.on_change()
