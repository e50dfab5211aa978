"""`manage.py explain SUBSCRIBER FEATURE`: what a person gets of a feature, and why."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from rollout.questions.explain import explain, find_subscriber
from rollout.rules.decision.trace import told as told_step


class Command(BaseCommand):
    help = "Says what a person gets of a feature, and every step that led there."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subscriber", help="An id, or a phone number such as +493090182000.")
        parser.add_argument("feature", help="The feature's key, such as voice-calls.")
        parser.add_argument("--callee", help="Only refused calls to this person (id or number).")
        parser.add_argument("--json", action="store_true", help="Everything, as one JSON object.")

    def handle(self, *args: Any, **options: Any) -> None:
        subscriber = find_subscriber(options["subscriber"])
        if subscriber is None:
            raise CommandError(f"Nobody has the id or number {options['subscriber']!r}.")
        callee = find_subscriber(options["callee"]) if options["callee"] else None
        if options["callee"] and callee is None:
            raise CommandError(f"Nobody has the id or number {options['callee']!r}.")
        told = explain(subscriber, options["feature"], now=timezone.now(), callee=callee)
        if told["decision"]["cause"] == "unknown_feature":
            raise CommandError(f"No feature has the key {options['feature']!r}, or no ruleset was published with it.")
        self.stdout.write(json.dumps(told, indent=2, default=str) if options["json"] else "\n".join(_lines(told)))


def _lines(told: dict[str, Any]) -> list[str]:
    decision = told["decision"]
    answer = "yes" if decision["enabled"] else "no"
    person = told["subscriber"]
    lines = [
        f"{person['name'] or person['id']}, {told['feature']}: {answer} (variant {decision['variant']}).",
        f"  {decision['words']}",
        f"  cause {decision['cause']}, reason {decision['reason']}, ruleset {told['ruleset']}, bucket {told['bucket']}",
        "Steps",
    ]
    for step in told["trace"]:
        sign = "decides" if step["decided"] else "passes"
        first, *rest = told_step(step["step"], step["seen"])
        lines.append(f"  {step['step']:<14}{sign:<9}{first}")
        lines += [f"{'':<25}{sentence}" for sentence in rest]
    if told["grant"]:
        grant = told["grant"]
        lines.append(f"Grant {grant['id']}: {grant['state']}, by {grant['source']}, depth {grant['depth']}.")
    for wave in told["waves"]:
        still = f" {wave['standstill']}" if wave["standstill"] else ""
        lines.append(f"Wave {wave['position']}, “{wave['name']}”: {wave['state']}, {wave['admitted']} admitted.{still}")
    for window in told["windows"]:
        lines.append(
            f"Window “{window['name']}”: {window['state']}, {window['used']} of {window['places']} places used."
        )
    for refusal in told["refusals"]:
        lines.append(f"Refused at {refusal['at']}: {refusal['outcome']} {json.dumps(refusal['detail'])}")
    return lines
