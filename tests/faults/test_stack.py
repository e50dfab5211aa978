"""The real stack, whole: it comes up, is watched, survives kill -9, and goes."""

from __future__ import annotations

import http.client
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from controlplane.host.memory import descendants
from tests.faults.stacks import REAL, ROOT, Stack, environment, lives, until

pytestmark = pytest.mark.stack
DEMONSTRATION = {"ROLLCALL_DEMONSTRATION": "1", "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
COLD = 90  # seconds for the first page, with every other test's process beside it


@pytest.fixture(scope="module")
def shared() -> Iterator[Stack]:
    """One stack for the tests that leave it as it was."""
    parent = Path(tempfile.mkdtemp(prefix="rc-"))
    parent.chmod(0o711)
    started = Stack(REAL, environment(parent / "data", **DEMONSTRATION))
    yield started
    started.end()
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def settings(data_folder: Path) -> dict[str, str]:
    return environment(data_folder, **DEMONSTRATION)


@pytest.fixture
def stack(settings: dict[str, str]) -> Iterator[Stack]:
    started = Stack(REAL, settings)
    yield started
    started.end()


def get(stack: Stack, variable: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.settings[variable]}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def is_free(port: str) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError:
            return False
    return True


def test_stack__started__ready_healthy_and_within_its_memory(shared: Stack) -> None:
    stack = shared.is_up(COLD)

    for variable in ("PORT", "CONSOLE_PORT"):
        assert get(stack, variable, "/healthz")[0] == 200
        assert get(stack, variable, "/readyz")[0] == 200
        assert "process_resident_memory_bytes" in get(stack, variable, "/metrics")[1]

    # As somebody types it in another terminal, without the ports.
    elsewhere = {name: value for name, value in stack.settings.items() if name not in {"PORT", "CONSOLE_PORT"}}

    def doctor() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "doctor", "--json"],
            cwd=ROOT,
            env=elsewhere,
            capture_output=True,
            text=True,
            check=False,
        )

    assert until(lambda: doctor().returncode == 0, 30), doctor().stdout  # beat's first signs of life take seconds
    found = json.loads(doctor().stdout)
    names = [process["name"] for process in found["memory"]["processes"]]
    assert names == ["supervisor", "postgres", "redis", "web", "edge", "worker", "bulk", "beat"]
    assert found["memory"]["pss"] < 700e6
    levels = {finding["about"]: finding["level"] for finding in found["findings"]}
    assert levels[f"port {stack.settings['PORT']}"] == levels[f"port {stack.settings['CONSOLE_PORT']}"] == "good"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs its processes as somebody else")
def test_stack__started_as_root__only_the_supervisor_is_root(shared: Stack) -> None:
    stack = shared.is_up(COLD)

    family = [path for pid in stack.family() if (path := Path(f"/proc/{pid}")).exists()]

    assert len(family) > 8
    assert [path for path in family if path.stat().st_uid == 0] == []
    state = Path(stack.settings["ROLLCALL_DATA"]) / "state"
    assert [path for path in state.rglob("*") if path.stat().st_uid == 0] == []


def test_stack__supervisor_killed__no_orphan_and_the_next_start_works(stack: Stack, settings: dict[str, str]) -> None:
    stack.is_up(COLD)
    family = stack.family()
    assert len(family) > 8  # granian's worker and PostgreSQL's own are among them

    stack.end(signal.SIGKILL)

    assert until(lambda: not any(lives(pid) for pid in family), 10), [pid for pid in family if lives(pid)]
    # A process whose first thread has ended may still have others, which hold what it opened.
    assert until(lambda: is_free(settings["PORT"]) and is_free(settings["CONSOLE_PORT"]), 2)
    again = Stack(REAL, settings)
    try:
        again.is_up(COLD)
        assert get(again, "CONSOLE_PORT", "/readyz")[0] == 200
    finally:
        took = again.end(signal.SIGTERM)
    assert took < 10


def test_stack__web_killed__its_worker_goes_and_it_comes_back(shared: Stack) -> None:
    stack = shared.is_up(COLD)
    answer = json.loads(stack.processes("list", "--json").stdout)
    web = next(process["pid"] for process in answer["processes"] if process["name"] == "web")

    os.kill(web, signal.SIGKILL)

    assert stack.says("web starts again in 0.5 s")
    assert until(lambda: stack.log.count("web is ready") == 2, COLD), stack.log
    assert get(stack, "CONSOLE_PORT", "/readyz")[0] == 200


def test_stack__postgres_stopped__web_unready_then_ready_again(shared: Stack) -> None:
    stack = shared.is_up(COLD)

    assert stack.processes("stop", "postgres").returncode == 0
    status, body = get(stack, "CONSOLE_PORT", "/readyz")
    assert status == 503
    assert "PostgreSQL doesn't answer" in body
    assert get(stack, "CONSOLE_PORT", "/healthz")[0] == 200

    assert stack.processes("start", "postgres").returncode == 0
    assert until(lambda: get(stack, "CONSOLE_PORT", "/readyz")[0] == 200, 15)


def test_stack__postgres_stands_still__web_answers_503_in_time_and_serves_again(shared: Stack) -> None:
    stack = shared.is_up(COLD)
    listed = json.loads(stack.processes("list", "--json").stdout)["processes"]
    postmaster = next(process["pid"] for process in listed if process["name"] == "postgres")
    asks = [
        ("GET", "/api/features", None),
        ("GET", "/console/", None),
        ("POST", "/v1/registration", {"phone": "+493090182000"}),
        ("POST", "/v1/tokens/refresh", {"refresh_token": "rt_" + "a" * 43}),
        ("GET", "/readyz", None),
    ] * 4

    def ask(method: str, path: str, body: Any) -> tuple[str, int, str | None, float]:
        link = http.client.HTTPConnection("127.0.0.1", int(stack.settings["CONSOLE_PORT"]), timeout=30)
        headers = {"X-API-Key": "rk_" + "a" * 43, "Cookie": "sessionid=" + "a" * 32, "Content-Type": "application/json"}
        begun = time.monotonic()
        try:
            link.request(method, path, json.dumps(body) if body else None, headers)
            answer = link.getresponse()
            return path, answer.status, answer.headers["Retry-After"], time.monotonic() - begun
        finally:
            link.close()

    with ThreadPoolExecutor(len(asks)) as people:
        before = list(people.map(lambda each: ask(*each), asks))
        still = descendants(postmaster)
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        try:
            rounds = [list(people.map(lambda each: ask(*each), asks)) for _ in range(3)]
            alive = ask("GET", "/healthz", None)
        finally:
            for pid in still:
                os.kill(pid, signal.SIGCONT)

    assert 503 not in {status for _, status, _, _ in before}
    for path, status, retry, took in [each for some in rounds for each in some]:
        assert (status, retry is not None) == (503, True), path
        assert took < 3, path
    assert alive[1] == 200
    assert until(lambda: ask("GET", "/readyz", None)[1] == 200, 15)
