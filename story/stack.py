"""The stack on which the story plays: one that already runs, or one of its own in a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from story.progress import progress
from story.rest import Operator

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
# What --fast shortens in a stack of its own, in seconds; each is a setting of the deployment.
FAST_SETTINGS = {"RING_SECONDS": "8", "EDGE_REPORT_SECONDS": "0.5"}
START_SECONDS = 120
# What would lead a stack of the story's own to somebody else's stores or addresses.
OF_OTHERS = {"DATABASE_URL", "REDIS_URL", "ROLLCALL_SECRET", "ROLLCALL_PUBLIC_URL", "ROLLCALL_HOST"}


class NoStack(Exception):
    """There is nothing to play on; the message says what to do."""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=3) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """Addresses and an operator's key of a deployment, and its process control when it is on this machine."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process: subprocess.Popen[str] | None = None

    @property
    def told(self) -> Path:
        return self.data / "state" / "demonstration.json"

    def read(self) -> dict[str, object]:
        """What `make run` left for people to sign in with: see the banner that it prints."""
        try:
            return dict(json.loads(self.told.read_text(encoding="utf-8")))
        except (FileNotFoundError, PermissionError, ValueError) as error:
            raise NoStack(f"{self.told} can't be read: {error}. Start `make run` first.") from error

    def open(self) -> None:
        """Learn the addresses. Raises `NoStack` when the deployment doesn't answer."""
        told = self.read()
        self.url = str(told["public_url"])
        self.console = str(told["console_url"])
        self.operator = Operator(self.console, str(told["api_key"]))
        if not answers(self.url):
            raise NoStack(f"{self.url} does not answer. Start `make run`, or leave out --url.")

    def processes(self, *words: str) -> None:
        """`manage.py processes stop worker`, as an operator would type it."""
        env = {**os.environ, "ROLLCALL_DATA": str(self.data)}
        done = subprocess.run(
            [sys.executable, str(MANAGE), "processes", *words], env=env, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise NoStack(f"`manage.py processes {' '.join(words)}` failed: {done.stdout}{done.stderr}")

    def start_own(self, *, fast: bool) -> None:
        """Start a demonstration of the story's own in a temporary folder, on free ports."""
        self.data = Path(tempfile.mkdtemp(prefix="rollcall-story-"))
        self.data.chmod(0o755)
        port, console = free_port(), free_port()
        settings = {
            "ROLLCALL_DATA": str(self.data / "data"),
            "PORT": str(port),
            "CONSOLE_PORT": str(console),
            "ROLLCALL_DEMONSTRATION": "1",
            **(FAST_SETTINGS if fast else {}),
        }
        self.log = (self.data / "stack.log").open("w", encoding="utf-8")
        self.folder, self.data = self.data, self.data / "data"
        self.process = subprocess.Popen(
            [sys.executable, str(MANAGE), "run"],
            env={name: value for name, value in os.environ.items() if name not in OF_OTHERS} | settings,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with progress.awaiting("a stack of the story's own to start"):
            self._wait_for_own([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{console}"])
        self.open()

    def _wait_for_own(self, addresses: list[str]) -> None:
        assert self.process is not None
        end = time.monotonic() + START_SECONDS
        while not (self.told.exists() and all(map(answers, addresses))):
            if self.process.poll() is not None or time.monotonic() > end:
                tail = Path(self.log.name).read_text(encoding="utf-8")[-2000:]
                self.close()
                raise NoStack(f"The story's own stack did not start. The end of its log:\n{tail}")
            time.sleep(0.3)

    def close(self) -> None:
        """End a stack of its own; a stack that ran before runs on."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def find(*, fast: bool, own: bool, data: Path) -> Stack:
    """The stack that runs on the data folder, or, when none does (or `own` asks for it), a new one."""
    stack = Stack(data)
    if not own:
        try:
            stack.open()
        except (NoStack, KeyError):
            pass
        else:
            return stack
    stack.start_own(fast=fast)
    return stack
