"""`manage.py protocol_page`: writes docs/protocol.md from the message types; `--check` says whether it is current."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from calls.rules.protocol import page
from controlplane.base.env import ROOT

PLACE = ROOT / "docs" / "protocol.md"


class Command(BaseCommand):
    help = "Write docs/protocol.md from the message types."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say whether the page is current")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        if not check:
            PLACE.write_text(page(), encoding="utf-8")
            self.stdout.write(f"{PLACE.relative_to(ROOT)} was written.")
        elif not PLACE.exists() or PLACE.read_text(encoding="utf-8") != page():
            raise CommandError("docs/protocol.md is not current: run manage.py protocol_page.")
