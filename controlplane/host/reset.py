"""`make reset`: deletes the data folder, once it is sure that nobody uses it. Standard library only."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from controlplane.base.env import data_folder
from controlplane.host.datafolder import is_held

OURS = frozenset({"secret", "lock", "pg", "redis", "s", "sockets", "run", "state"})


def main() -> int:
    """0 when the folder is gone afterwards; 1, with a sentence, when it was left alone."""
    parser = argparse.ArgumentParser(prog="make reset", description="Delete Rollcall's data folder.")
    parser.add_argument("--force", action="store_true", help="don't ask")
    options = parser.parse_args()
    data = data_folder(os.environ)
    if not data.is_dir():
        print(f"There is nothing to delete: {data} doesn't exist.")
        return 0
    names = {entry.name for entry in data.iterdir()}
    if names and not names & OURS:
        print(f"{data} doesn't look like a data folder of Rollcall: left alone. Mend ROLLCALL_DATA.")
        return 1
    if is_held(data):
        print(f"Rollcall runs on {data}: stop it first (Ctrl-C where it runs).")
        return 1
    if not options.force and not _agreed(data):
        print("Left alone.")
        return 1
    try:
        sockets = Path((data / "sockets").read_text(encoding="utf-8").strip())
        if sockets.name.startswith("rollcall-"):
            shutil.rmtree(sockets, ignore_errors=True)
    except FileNotFoundError:
        pass
    try:
        shutil.rmtree(data)
    except OSError as error:
        print(f"{error.filename} can't be deleted ({error.strerror}): run as the owner of {data}.")
        return 1
    print(f"{data} is deleted. 'make run' starts afresh.")
    return 0


def _agreed(data: Path) -> bool:
    if not sys.stdin.isatty():
        print("Nobody is there to ask: say FORCE=1 to delete without asking.")
        return False
    return input(f"Delete {data} with everything in it? Type yes: ").strip().lower() == "yes"


if __name__ == "__main__":
    sys.exit(main())
