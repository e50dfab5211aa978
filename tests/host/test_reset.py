"""`make reset` deletes a data folder of ours that nobody uses, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.base import env
from controlplane.host.datafolder import Lock


def reset(data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controlplane.host.reset", *options],
        cwd=env.ROOT,
        env={**os.environ, "ROLLCALL_DATA": str(data)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    env.load({"ROLLCALL_DATA": str(tmp_path / "data")})
    return tmp_path / "data"


def test_reset__forced__deletes_the_folder_and_its_far_sockets(data: Path, tmp_path: Path) -> None:
    sockets = tmp_path / "rollcall-far"
    sockets.mkdir()
    (data / "sockets").write_text(str(sockets))

    done = reset(data, "--force")

    assert done.returncode == 0, done.stdout
    assert not data.exists()
    assert not sockets.exists()


def test_reset__nobody_to_ask__leaves_it(data: Path) -> None:
    done = reset(data)

    assert done.returncode == 1
    assert "FORCE=1" in done.stdout
    assert data.exists()


def test_reset__in_use__leaves_it_even_when_forced(data: Path) -> None:
    with Lock(data):
        done = reset(data, "--force")

    assert done.returncode == 1
    assert "stop it first" in done.stdout
    assert (data / "secret").exists()


def test_reset__not_ours__leaves_it(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    done = reset(tmp_path, "--force")

    assert done.returncode == 1
    assert "doesn't look like a data folder" in done.stdout
    assert (tmp_path / "thesis.txt").exists()


def test_reset__nothing_there__is_fine(tmp_path: Path) -> None:
    done = reset(tmp_path / "none", "--force")

    assert done.returncode == 0
