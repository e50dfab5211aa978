"""Playing the story as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from story.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
STORY_SECONDS = 300


def play(stack: Stack, *options: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Play the fast story as a process of its own; its exit code and its statements by id."""
    done = subprocess.run(
        [sys.executable, "manage.py", "story", "--json", "--fast", "--data", str(stack.data), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=STORY_SECONDS,
    )
    assert done.stdout, f"The story told nothing: {done.stderr}"
    print(done.stderr)
    return done.returncode, {row["id"]: row for row in json.loads(done.stdout)}
