"""A broken phone for the story's own test: it records its own sound instead of what it hears."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from calls.phone import media
from calls.phone.__main__ import main
from calls.phone.sound import Source


def hear_oneself(connection: media.Connection, track: Any) -> None:
    own = Source(connection.source.samples)
    own.released = True
    task = asyncio.create_task(connection.recorder.listen(own))
    connection._tasks.add(task)


media.Connection._track = hear_oneself  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(["phone", *sys.argv[1:]]))
