"""What somebody is told who looks for a command, a page or a key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.base import env
from controlplane.host.banner import banner


def told(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=env.ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help__lists_every_command__also_those_that_django_does_not_know() -> None:
    listed = {line.split()[0] for line in told("help").splitlines() if line.startswith("    ")}

    apps = [env.ROOT / app for app in ("controlplane", "rollout", "calls")]
    own = {path.stem for app in apps for path in app.rglob("management/commands/[a-z]*.py")}
    assert own | {"run", "processes", "edge", "phone", "story"} <= listed


@pytest.mark.parametrize("arguments", [("help", "run"), ("run", "--help"), ("help", "story"), ("edge", "-h")])
def test_help__of_a_command_outside_django__says_what_it_does_and_starts_nothing(arguments: tuple[str, str]) -> None:
    assert re.fullmatch(r"manage\.py (run|story|edge): .+\.\n", told(*arguments))


def test_banner__names_the_documents_with_their_port_and_how_to_make_a_key(tmp_path: Path) -> None:
    here = env.load({"ROLLCALL_DATA": str(tmp_path), "CONSOLE_PORT": "9001"})

    text = "\n".join(banner(here))

    assert "http://127.0.0.1:9001/api/docs" in text
    assert "manage.py apikey create" in text
