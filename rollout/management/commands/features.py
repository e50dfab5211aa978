"""`manage.py features …`: lists and shows features, runs their verbs, previews, exports and imports definitions."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal
from rollout.actions import features
from rollout.actions.definitions import import_definitions
from rollout.errors import FeatureUnknown
from rollout.models import Access, Feature, Grant
from rollout.questions.definitions import definition_of, export, plan
from rollout.questions.people import CHUNK
from rollout.questions.preview import EVERYBODY, of_document

VERBS: dict[str, tuple[Callable[..., Feature], str]] = {
    "on": (features.switch_on, "switch it on"),
    "off": (features.switch_off, "no new calls; running ones finish"),
    "kill": (features.kill, "stop it for everybody"),
    "unkill": (features.unkill, "as it was before the kill"),
    "launch": (features.launch, "whoever is eligible has it"),
    "access": (features.set_access, "who decides who has it"),
}


class Command(BaseCommand):
    help = "Shows features, runs their verbs, and carries their definitions from one deployment to another."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="every feature in a line")
        verbs.add_parser("show", help="one feature as JSON").add_argument("key")
        for name, (_, words) in VERBS.items():
            verb = verbs.add_parser(name, help=words)
            verb.add_argument("key")
            if name == "access":
                verb.add_argument("access", choices=list(Access))
            if name == "kill":
                verb.add_argument("--end-calls", action="store_true", help="running calls end too")
            verb.add_argument("--reason", default="", help="stands in the audit")
        verbs.add_parser("export", help="every feature and audience as JSON, to the standard output")
        load = verbs.add_parser("import", help="what the file says stands here afterwards; the rest stays")
        load.add_argument("file", help="a file, or - for the standard input")
        load.add_argument("--dry-run", action="store_true", help="only say what would change")
        load.add_argument("--reason", default="", help="stands in the audit")
        preview = verbs.add_parser("preview", help="whom importing the file would give the features, or take them from")
        preview.add_argument("file", help="a file, or - for the standard input")
        preview.add_argument("--sample", type=int, default=EVERYBODY, help=f"at most {EVERYBODY} subscribers")
        preview.add_argument("--assume-on", action="store_true", help="count as if the features were on")
        for each in (load, preview):
            each.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        told = {"list": self._list, "show": self._show, "export": self._export}
        told |= {"import": self._import, "preview": self._preview}
        try:
            told.get(options["verb"], self._verb)(options)
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal

    def _list(self, options: dict[str, Any]) -> None:
        for feature in Feature.objects.all():
            holders = Grant.objects.live().filter(feature=feature).count()
            shown = "visible to phones" if feature.visible_to_phones else "unknown to phones"
            self.stdout.write(
                f"{feature.key:<24} {feature.switch:<7} {feature.access:<9} {holders:>7,} grants, {shown}, "
                f"revision {feature.revision}"
            )

    def _show(self, options: dict[str, Any]) -> None:
        feature = Feature.objects.filter(key=options["key"]).first()
        if feature is None:
            raise FeatureUnknown(options["key"])
        self._write({"key": feature.key, "revision": feature.revision, **definition_of(feature)})

    def _verb(self, options: dict[str, Any]) -> None:
        action, _ = VERBS[options["verb"]]
        more = {name: options[name] for name in ("access", "end_calls") if name in options}
        feature = action(options["key"], reason=options["reason"], actor=_actor(), now=timezone.now(), **more)
        self.stdout.write(f"{feature.key} is {feature.switch}; access: {feature.access}; revision {feature.revision}.")

    def _export(self, options: dict[str, Any]) -> None:
        self._write(export())

    def _import(self, options: dict[str, Any]) -> None:
        document, now = _read(options["file"]), timezone.now()
        if options["dry_run"]:
            done = plan(document, now=now)
        else:
            done = import_definitions(document, actor=_actor(), now=now, reason=options["reason"])
        if options["json"]:
            changes = [change.as_json() for change in done.changes]
            self._write({"dry_run": options["dry_run"], "changes": changes, "remarks": list(done.remarks)})
        else:
            self.stdout.write("\n".join(done.words))

    def _preview(self, options: dict[str, Any]) -> None:
        if not 1 <= options["sample"] <= EVERYBODY:
            raise CommandError(f"--sample is from 1 to {EVERYBODY}.")
        preview = of_document(
            _read(options["file"]),
            now=timezone.now(),
            sample=options["sample"],
            assume_on=options["assume_on"],
            progress=self._progress,
        )
        if options["json"]:
            self._write(preview.as_json())
            return
        self.stdout.write("\n".join(preview.words))
        for tally in preview.tallies:
            for trait, places in tally.by.items():
                for place, cell in places.items():
                    counted = ", ".join(f"{count:,} {move}" for move, count in cell.items() if count)
                    self.stdout.write(f"  {tally.feature}, {trait} {place}: {counted}")

    def _progress(self, looked_at: int, of: int) -> None:
        """A line for every part of people, on the error output, when there is more than one."""
        if of > CHUNK:
            self.stderr.write(f"{looked_at:,} of {of:,} people looked at")

    def _write(self, document: Any) -> None:
        self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))


def _actor() -> Actor:
    return Actor.command_line()


def _read(file: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CommandError(f"{file} can't be read as JSON: {error}") from error
