"""Starting a supervisor in a test, reading its log, and being sure that nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STUBS = [sys.executable, str(Path(__file__).with_name("stub_stack.py"))]
REAL = [sys.executable, str(ROOT / "manage.py"), "run"]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def environment(data: Path, **settings: str) -> dict[str, str]:
    """A supervisor's environment: the embedded stores, free ports, its own data folder."""
    port, console_port = free_ports(2)
    inherited = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    return {
        **inherited,
        "ROLLCALL_DATA": str(data),
        "PORT": str(port),
        "CONSOLE_PORT": str(console_port),
        "ROLLCALL_DEMONSTRATION": "0",
        **settings,
    }


def lives(pid: int) -> bool:
    """Whether the process runs; one that only waits to be collected by its parent doesn't."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Stack:
    """A supervisor that is running, with its log."""

    def __init__(self, argv: list[str], settings: dict[str, str], *, user: int | None = None) -> None:
        self.settings = settings
        self.process = subprocess.Popen(
            argv, env=settings, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, user=user
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def says(self, words: str, seconds: float = 20) -> bool:
        """Whether the log came to hold the words in time, and before the end of the process."""
        until(lambda: words in self.log or self.process.poll() is not None, seconds)
        return until(lambda: words in self.log, 0.5)

    def is_up(self, seconds: float = 20) -> Stack:
        """Wait for the banner; fails with the log."""
        assert self.says("Ctrl-C ends everything", seconds), self.log
        return self

    def family(self) -> list[int]:
        """Everything that descends from the supervisor, itself left out."""
        from controlplane.host.memory import descendants

        return descendants(self.process.pid)[1:]

    def end(self, number: int = signal.SIGTERM, seconds: float = 15) -> float:
        """Send the signal and wait for the end: how long it took."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self._reader.join(2)
        return time.monotonic() - begun

    def processes(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`manage.py processes …` against this stack."""
        return subprocess.run(
            [sys.executable, "manage.py", "processes", *arguments],
            env=self.settings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
