"""`manage.py audit verify` and `manage.py audit tail`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from controlplane.audit.models import AuditEntry
from controlplane.audit.verify import verify


class Command(BaseCommand):
    help = "Checks the audit trail (verify: names the first bad entry), or shows its end (tail)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["verify", "tail"])
        parser.add_argument("-n", "--lines", type=int, default=20, help="how many entries `tail` shows")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["what"] == "tail":
            self._tail(options["lines"])
            return
        found = verify()
        if not found.ok:
            raise CommandError(found.words)
        self.stdout.write(found.words)

    def _tail(self, lines: int) -> None:
        for entry in reversed(AuditEntry.objects.order_by("-id")[: max(lines, 0)]):
            reason = f" – {entry.reason}" if entry.reason else ""
            at = entry.at.isoformat(timespec="seconds")
            self.stdout.write(f"{entry.id} {at} {entry.actor_kind} {entry.actor}: {entry.verb} {entry.subject}{reason}")
