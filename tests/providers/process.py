"""A real edge in a process of its own, with features of every kind, and the providers' programs beside it."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from django.conf import settings
from django.utils import timezone

from controlplane.base.env import ROOT
from rollout.actions import rulesets
from rollout.models import Feature
from tests import builders
from tests.journeys.signaling import add_phone, token_of
from tests.rollout import cast

HERE = Path(__file__).parent
PATIENCE = 20.0  # seconds for a process to answer
AWAY = ("ENOTFOUND", "EAI_AGAIN", "ECONN", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET", "E401", "E403", "E404", "E5")
VALUES: dict[str, dict[str, Any]] = {
    "boolean": {"on": True, "off": False},
    "string": {"on": "blue", "off": "grey"},
    "integer": {"on": 7, "off": 0},
    "float": {"on": 2.0, "off": 0.5},
    "object": {"on": {"list": [1, {"deep": None}]}, "off": {}},
}
GERMAN = {"any_of": [[{"trait": "country", "operator": "IN", "values": ["DE"]}]], "name": "Germans"}


@dataclass(frozen=True)
class Scene:
    """What is asked about: an API key, and phones of alice (who has calling) and bob (who hasn't)."""

    url: str
    key: str
    alice: str
    bob: str
    bob_id: str

    @property
    def backend(self) -> dict[str, str]:
        return {"X-API-Key": self.key}

    def phone(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {getattr(self, name)}"}


def publish() -> None:
    rulesets.publish(cast.OPERATOR, timezone.now())


def change(key: str, **fields: Any) -> None:
    """Change a feature and publish it."""
    assert Feature.objects.filter(key=key).update(**fields) == 1
    publish()


@contextmanager
def running_scene(environment: Mapping[str, str], folder: Path) -> Iterator[Scene]:
    launch = cast.launch()
    for kind, variants in VALUES.items():
        cast.feature(key=f"a.{kind}", kind=kind, access="everyone", variants=variants)
        cast.feature(key=f"b.{kind}", kind=kind, switch="off", variants=variants)
    cast.feature(key="german", access="rules", rules=[GERMAN])
    cast.feature(key="hidden", access="everyone", visible_to_phones=False)
    key, _ = builders.api_key("evaluate")
    alice, bob = add_phone(launch.alice), add_phone(launch.bob)
    publish()
    with edge_process(environment, folder) as url:
        yield Scene(url, key, token_of(alice, grant=launch.root), token_of(bob), str(launch.bob.pk))


@contextmanager
def edge_process(environment: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The address of a `manage.py edge` that is ready."""
    port = unused_port()
    values = {
        **environment,
        "PORT": str(port),
        "CONSOLE_PORT": str(unused_port()),
        "ROLLCALL_SECRET": settings.ENV.secret.hex(),
        "ROLLCALL_DATA": str(folder / secrets.token_hex(4)),
    }
    url = f"http://127.0.0.1:{port}"
    with open(folder / "edge.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "edge"], cwd=ROOT, env=values, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _await_ready(url, process, folder / "edge.log")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"The edge did not become ready:\n{log.read_text()[-2000:]}")


def install_node_packages() -> None:
    """What package-lock.json names, once. Skips the test, with the reason, where that can't be done."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are needed for the providers of JavaScript: install Node.js 20 or later.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"The providers of JavaScript need Node.js 20 or later; this is {version}.")
    lock, mark = HERE / "package-lock.json", HERE / "node_modules" / ".installed"
    if mark.exists() and mark.read_text() == lock.read_text():
        return
    command = [npm, "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300)
    if done.returncode:
        if any(f"code {each}" in done.stderr for each in AWAY):
            pytest.skip(f"npm's registry can't be reached: {done.stderr.strip().splitlines()[0]}")
        raise AssertionError(done.stderr)
    mark.write_text(lock.read_text())


class Program:
    """One of the programs of JavaScript: a line of JSON in, a line of JSON out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, seconds: float = PATIENCE) -> Any:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        if not line:
            assert self._process.stderr is not None
            raise AssertionError((await self._process.stderr.read()).decode())
        return json.loads(line)

    async def ask(self, **command: Any) -> Any:
        await self.say(**command)
        return await self.hear()


@asynccontextmanager
async def running_program(name: str, **settings: Any) -> AsyncIterator[Program]:
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node, name, json.dumps(settings), cwd=HERE, stdin=-1, stdout=-1, stderr=-1
    )
    try:
        yield Program(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()
