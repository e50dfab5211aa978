"""`manage.py story [--json] [--fast] [--own]`: play the launch of 2015, and say what happened.

Exit codes: 0 when every statement holds, 1 when one differs or is missing, 2 when there is nothing to play on.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path

from story.acts import ACTS
from story.phones import PhoneFailed, phone_command
from story.progress import progress
from story.rest import Refused
from story.scene import FAST_INTERVALS, INTERVALS, Scene
from story.stack import FAST_SETTINGS, NoStack, Stack, find
from story.statements import Ledger, StatementFailed

ROOT = Path(__file__).resolve().parent.parent


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py story", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the statements as one JSON list, and nothing else")
    parser.add_argument("--fast", action="store_true", help="shorten configured intervals; says which")
    parser.add_argument("--own", action="store_true", help="start a stack of the story's own even if one runs")
    data = Path(os.environ.get("ROLLCALL_DATA") or ROOT / ".rollcall")
    parser.add_argument("--data", type=Path, default=data, help="data folder of the running stack")
    parser.add_argument("--phone", type=shlex.split, default=phone_command(), help="the command that starts a phone")
    parser.add_argument("--keep", type=Path, help="keep phones' folders and recordings in this folder")
    return parser.parse_args(argv)


def refuse_the_real_world(stack: Stack) -> None:
    """The story grants, kills and launches: it plays only where nobody's real calls are."""
    if not stack.operator.get("deployment").get("demonstration"):
        raise NoStack(
            f"{stack.url} is not marked as a demonstration, so the story will not play there. It grants, launches "
            "and kills calling. Use `make run`, or set ROLLCALL_DEMONSTRATION=1 on a deployment that nobody uses."
        )


def say_intervals(stack: Stack, options: argparse.Namespace) -> None:
    if not options.fast:
        return
    words = [f"{name} {INTERVALS[name]:g} → {FAST_INTERVALS[name]:g} s" for name in INTERVALS]
    if stack.process is not None:
        words += [f"{name} → {value} s" for name, value in FAST_SETTINGS.items()]
    progress.say(f"--fast shortens these intervals, and nothing else: {', '.join(words)}.")


def play(stack: Stack, ledger: Ledger, folder: Path, options: argparse.Namespace) -> str:
    """All acts; an empty string, or the sentence that says why the story ended early."""
    refuse_the_real_world(stack)
    say_intervals(stack, options)
    scene = Scene(stack=stack, ledger=ledger, folder=folder, phone=options.phone, fast=options.fast)
    try:
        scene.prepare()
        scene.gather()
        for act in ACTS:
            act(scene)
    except StatementFailed as failure:
        return str(failure)
    except (PhoneFailed, Refused, NoStack, OSError) as failure:
        ledger.fail_next(str(failure))
        return f"{ledger.seen[-1].id}: {failure}"
    finally:
        scene.leave()
    return ""


def main(argv: list[str]) -> int:
    options = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ledger, began = Ledger(), time.monotonic()
    if not options.json:
        progress.start()
    try:
        stack = find(fast=options.fast, own=options.own, data=options.data)
    except NoStack as reason:
        print(reason, file=sys.stderr)
        return 2
    try:
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            failure = play(stack, ledger, Path(tempfile.mkdtemp(prefix="run-", dir=options.keep)), options)
        else:
            with tempfile.TemporaryDirectory(prefix="rollcall-phones-") as folder:
                failure = play(stack, ledger, Path(folder), options)
    except NoStack as reason:
        print(reason, file=sys.stderr)
        return 2
    finally:
        with progress.awaiting("everything to end"):
            stack.close()
        progress.stop()
    if options.json:
        print(json.dumps(ledger.as_json(), ensure_ascii=False, indent=1))
    if failure:
        print(f"\nThe story failed at {failure}", file=sys.stderr)
    elif not options.json:
        print(f"\nAll {len(ledger.seen)} statements hold ({time.monotonic() - began:.0f} s).")
    return 0 if ledger.all_hold() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
