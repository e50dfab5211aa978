"""What benchmarks of a running service stand on: stores of their own in a temporary folder, edges, and a web.

Everything listens on loopback only and ends with the block. Import nothing of Django before `Stand` is entered.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from benchmarks.harness import ROOT
from controlplane.base import env, locations, logs
from controlplane.host import embedded

PATIENCE = 60.0  # seconds for a process to be ready


class Stand:
    """PostgreSQL and Redis with all tables, and Django set up in this process to fill them."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rc-bench-"))
        self.folder.chmod(0o711)  # the stores' own user passes through when we are root
        self._before = dict(os.environ)
        self._servers: embedded.Embedded | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stand:
        os.environ.update(ROLLCALL_DATA=str(self.folder / "data"), DJANGO_SETTINGS_MODULE="controlplane.settings")
        for name in ("DATABASE_URL", "REDIS_URL", "ROLLCALL_PUBLIC_URL", "PORT", "CONSOLE_PORT"):
            os.environ.pop(name, None)
        here = env.load()
        self._servers = embedded.Embedded(here)
        try:
            self._servers.start()
            os.environ.update(
                DATABASE_URL=locations.owner_url(here) or "",
                REDIS_URL=locations.redis_url(here),
                ROLLCALL_SECRET=here.secret.hex(),
            )
            import django
            from django.core.management import call_command

            django.setup()
            logs.configure_command("benchmark")  # stdout has one object, and nothing else
            call_command("migrate", verbosity=0)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def edge(self, **settings: str) -> str:
        """The address of another edge, which is ready: it has a ruleset."""
        port = free_port()
        return self._start(["manage.py", "edge"], port, {"PORT": str(port), **settings})

    def web(self, **settings: str) -> str:
        """The address of a web, which is ready."""
        port = free_port()
        granian = ["-m", "granian", "--interface", "wsgi", "controlplane.wsgi:application", "--no-access-log"]
        granian += ["--port", str(port), "--workers", "1", "--blocking-threads", "4", "--log-level", "warning"]
        return self._start(granian, port, {"CONSOLE_PORT": str(port), **settings})

    def pid(self, number: int) -> int:
        """Of the process that was started as this one, from 0."""
        return self._processes[number].pid

    def _start(self, arguments: list[str], port: int, settings: dict[str, str]) -> str:
        data = self.folder / f"process-{len(self._processes)}"
        with open(f"{data}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, "ROLLCALL_DATA": str(data), **settings},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                    return url
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"{arguments} did not become ready:\n{Path(f'{data}.log').read_text()[-2000:]}")

    def end_processes(self) -> None:
        """Edges and webs have ended afterwards; the stores go on."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _end(self) -> None:
        self.end_processes()
        if self._servers is not None:
            self._servers.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.environ.clear()
        os.environ.update(self._before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pin(pid: int, core: int) -> bool:
    """Whether the process, with all of its threads, now runs on this core only."""
    cores = sorted(os.sched_getaffinity(0) if pid == 0 else os.sched_getaffinity(pid))
    if len(cores) < 2:
        return False
    for thread in Path(f"/proc/{pid or 'self'}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {cores[core]})
    return True
