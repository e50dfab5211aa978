"""What the Makefile prints while it sets up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from controlplane.base.env import ROOT

# Makes an "environment" whose Python is this file again, and whose pip takes its time.
SLOW_PYTHON = """#!/bin/bash
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip") sleep 9 ;;
esac
"""


def test_setup__slow_pip__says_again_and_again_that_it_goes_on(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(SLOW_PYTHON)
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}  # no uv

    done = subprocess.run(
        ["make", "setup", "PYTHON=./python"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("still at it") == 2
    assert done.stderr == ""


def pins(text: str) -> set[str]:
    """`name==version` of each line that pins, in one spelling."""
    lines = [line.split()[0] for line in text.splitlines() if "==" in line]
    return {re.sub(r"\[.*\]", "", line).lower().replace("_", "-") for line in lines}


def test_requirements__locked__are_those_that_are_named_each_with_hashes() -> None:
    locked = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")

    assert pins(locked) == pins((ROOT / "requirements.txt").read_text()), "run 'make lock'"
    assert all("--hash=sha256:" in line for line in locked.splitlines() if "==" in line)
