"""`manage.py doctor`: is everything there that a deployment needs? Exit code 1 when something is bad."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from controlplane.host.diagnosis import Level, as_json, diagnose, memory, memory_finding, running
from controlplane.host.processes import table

MARKS = {Level.GOOD: "ok  ", Level.POOR: "note", Level.BAD: "BAD "}


class Command(BaseCommand):
    help = "Checks what a deployment needs, says what to do, and shows the memory of each process."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        env = running(settings.ENV)
        findings = diagnose(env)
        found = memory(env)
        if found is not None:
            findings.append(memory_finding(found))
        bad = [finding for finding in findings if finding.level is Level.BAD]
        if options["json"]:
            self.stdout.write(json.dumps(as_json(findings, found), indent=2))
        else:
            for finding in findings:
                self.stdout.write(f"{MARKS[finding.level]}  {finding.about:<18} {finding.words}")
            if found is not None:
                self.stdout.write("\n" + table(found))
            self.stdout.write(f"\n{len(bad)} of {len(findings)} findings need mending." if bad else "\nAll is well.")
        if bad:
            sys.exit(1)
