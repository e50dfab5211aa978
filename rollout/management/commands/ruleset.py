"""`manage.py ruleset list|show|diff|restore|publish`: the history of what was published, and a way back in it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal
from rollout.actions.definitions import restore
from rollout.actions.rulesets import publish
from rollout.questions.rulesets import compared, document_of, history
from rollout.rules.ruleset.difference import summary


class Command(BaseCommand):
    help = "Shows, compares and restores rulesets, and publishes. A new deployment needs a first one to decide by."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("publish", help="publish what stands in the database; nothing happens when nothing changed")
        verbs.add_parser("list", help="the newest first").add_argument("--limit", type=int, default=20)
        verbs.add_parser("show", help="one version as JSON").add_argument("version", type=int)
        diff = verbs.add_parser("diff", help="what changed from one version to another (0: the empty one)")
        diff.add_argument("a", type=int)
        diff.add_argument("b", type=int)
        diff.add_argument("--json", action="store_true", help="for programs")
        back = verbs.add_parser("restore", help="features and audiences as in that version, in a new one")
        back.add_argument("version", type=int)
        back.add_argument("--reason", default="", help="stands in the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            match options["verb"]:
                case "publish":
                    ruleset = publish(Actor.automatic("manage.py ruleset"), timezone.now(), "Published by hand")
                    self.stdout.write(f"Ruleset {ruleset.version} is current.")
                case "list":
                    self._list(options["limit"])
                case "show":
                    self._write(document_of(options["version"]))
                case "diff":
                    self._diff(options)
                case "restore":
                    self._restore(options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal

    def _list(self, limit: int) -> None:
        for row in history().order_by("-version")[: max(1, limit)]:
            at = f"{row.published_at:%Y-%m-%d %H:%M:%S}"
            self.stdout.write(f"{row.version:>6}  {at}  {row.published_by:<28} {row.note}")

    def _diff(self, options: dict[str, Any]) -> None:
        changes = compared(options["a"], options["b"])
        if options["json"]:
            self._write([change.as_json() for change in changes])
        else:
            self.stdout.write("\n".join([summary(changes), *(change.words for change in changes)]))

    def _restore(self, options: dict[str, Any]) -> None:
        actor = Actor.command_line()
        done = restore(options["version"], actor=actor, now=timezone.now(), reason=options["reason"])
        self.stdout.write("\n".join(done.words))

    def _write(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
