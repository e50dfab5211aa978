#!/usr/bin/env python3
"""Rollcall's command line. `manage.py help` lists everything."""

from __future__ import annotations

import importlib
import os
import runpy
import sys

# Commands that start without Django, since they are long-lived or stand outside it: name -> module with `main(argv)`.
PLAIN = {
    "run": "controlplane.host.supervise",
    "processes": "controlplane.host.supervise",
    "edge": "calls.edge.app",
    "phone": "calls.phone.__main__",
}
# What Django doesn't know of: name -> what it does.
OUTSIDE = {
    "run": "start everything under one supervisor, as `make run` does",
    "processes": "list, stop and start the processes of a stack that runs",
    "edge": "the process that phones talk to; `run` starts it",
    "phone": "a reference phone: register, call, listen",
    "story": "play the launch of 2015 against a stack that runs",
}
HELP = ("help", "--help", "-h")


def main() -> int:
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    asked = sys.argv[2] if len(sys.argv) > 2 else ""
    if (command in HELP and asked in OUTSIDE) or (command in ("run", "edge") and asked in HELP):
        name = asked if asked in OUTSIDE else command
        print(f"manage.py {name}: {OUTSIDE[name]}.")
        return 0
    if command in HELP and not asked:
        print("[outside Django]", *(f"    {name:<12}{words}" for name, words in OUTSIDE.items()), "", sep="\n")
    if command == "story":
        # The story imports nothing of Rollcall and must not see its stores: it runs in a clean environment.
        os.environ["ROLLCALL_DATA"] = str(importlib.import_module("controlplane.base.env").data_folder(os.environ))
        for secret in ("DATABASE_URL", "REDIS_URL", "ROLLCALL_SECRET"):
            os.environ.pop(secret, None)
        sys.argv = ["story", *sys.argv[2:]]
        runpy.run_module("story", run_name="__main__")
        return 0
    if command in PLAIN:
        return int(importlib.import_module(PLAIN[command]).main(sys.argv[1:]) or 0)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    from django.core.management import execute_from_command_line

    from controlplane.base import env, logs

    logs.configure_command(command)
    try:
        execute_from_command_line(sys.argv)
    except env.BadSetting as trouble:
        print(trouble, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
