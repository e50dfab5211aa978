"""`manage.py ruleset publish`: make what PostgreSQL says the current ruleset, when it isn't yet."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from controlplane.audit.record import Actor
from rollout.actions.rulesets import publish


class Command(BaseCommand):
    help = "Publish the ruleset. A new deployment needs a first one before its edges can decide."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("publish", help="publish what stands in the database; nothing happens when nothing changed")

    def handle(self, *args: Any, **options: Any) -> None:
        ruleset = publish(Actor.automatic("manage.py ruleset"), timezone.now(), "Published by hand")
        self.stdout.write(f"Ruleset {ruleset.version} is current.")
