"""`manage.py grants …`: gives a feature to people, freezes, thaws and revokes grants."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal
from controlplane.rest.subscribers import find_subscribers
from rollout.actions.grants import freeze_grant, grant_people, revoke_grant, thaw_grant

VERBS = {
    "freeze": (freeze_grant, "the person keeps the feature, and brings in nobody"),
    "thaw": (thaw_grant, "the person can bring in others again"),
    "revoke": (revoke_grant, "the person loses the feature; those whom they brought in keep it"),
}


class Command(BaseCommand):
    help = "Gives a feature to people, freezes, thaws and revokes grants."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        give = verbs.add_parser("give", help="everybody named has the feature, each as the root of a branch")
        give.add_argument("feature")
        give.add_argument("people", nargs="+", help="phone numbers or ids of subscribers")
        for name, (_, words) in VERBS.items():
            verbs.add_parser(name, help=words).add_argument("grant", type=int, help="the grant's number")
        for verb in verbs.choices.values():
            verb.add_argument("--reason", default="", help="stands in the audit")

    def handle(self, *args: Any, **options: Any) -> None:
        by: dict[str, Any] = {"actor": Actor.command_line(), "now": timezone.now()}
        try:
            if options["verb"] == "give":
                people = [person.pk for person in find_subscribers(options["people"])]
                given = grant_people(options["feature"], subscribers=people, reason=options["reason"], **by)
                self.stdout.write(f"{len(given.grants)} people have it from now on; {len(given.already)} had it.")
            else:
                grant = VERBS[options["verb"]][0](options["grant"], reason=options["reason"], **by)
                self.stdout.write(f"Grant {grant.pk} is {grant.state}.")
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
