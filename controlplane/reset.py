"""`make reset`: deletes the data folder, once it is sure that nobody uses it. Standard library only."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = frozenset({"secret", "lock", "pg", "redis", "s", "sockets", "run", "demonstration.json"})


def main() -> int:
    """0 when the folder is gone afterwards; 1, with a sentence, when it was left alone."""
    parser = argparse.ArgumentParser(prog="make reset", description="Delete Rollcall's data folder.")
    parser.add_argument("--force", action="store_true", help="don't ask")
    options = parser.parse_args()
    data = Path(os.environ.get("ROLLCALL_DATA", "").strip() or ROOT / ".rollcall").absolute()
    if not data.is_dir():
        print(f"There is nothing to delete: {data} doesn't exist.")
        return 0
    names = {entry.name for entry in data.iterdir()}
    if names and not names & OURS:
        print(f"{data} doesn't look like a data folder of Rollcall: left alone. Mend ROLLCALL_DATA.")
        return 1
    if _is_held(data):
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


def _is_held(data: Path) -> bool:
    import fcntl

    try:
        file = os.open(data / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


if __name__ == "__main__":
    sys.exit(main())
