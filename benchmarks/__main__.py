"""`python -m benchmarks [NAME …] [--json] [--strict]`: each benchmark in a process of its own."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT, table

FOLDER = Path(__file__).resolve().parent


def names() -> list[str]:
    """The modules that measure: those that say what their goals are."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
        if any(isinstance(target, ast.Name) and target.id == "GOALS" for target in targets):
            found.append(path.stem)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", help="which ones; all without any", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    arguments = parser.parse_args()
    known = names()
    strange = sorted(set(arguments.names) - set(known))
    if strange:
        parser.error(f"there is no benchmark {strange[0]!r}; there are {', '.join(known)}")
    met = True
    for name in arguments.names or known:
        ran = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        if ran.returncode or not ran.stdout.strip():
            print(f"{name}: broke with status {ran.returncode}", file=sys.stderr, flush=True)
            met = False
            continue
        line = ran.stdout.strip().splitlines()[-1]
        done = json.loads(line)
        met = met and (done["ok"] or not arguments.strict)
        print(line if arguments.json else table(done) + "\n", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
