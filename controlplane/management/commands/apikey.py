"""`manage.py apikey create NAME --scopes evaluate,read,operate`, `list` and `revoke ID`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.accounts.models import ApiKey
from controlplane.actions import keys
from controlplane.audit.record import Actor
from controlplane.base.refusal import Refusal


class Command(BaseCommand):
    help = "Makes API keys for backends and scripts, lists them, and revokes them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="print a new key, once")
        create.add_argument("name", help="what the key is for")
        create.add_argument("--scopes", default="evaluate", help="evaluate, read, operate, audit, separated by commas")
        create.add_argument("--reason", default="")
        verbs.add_parser("list", help="show which keys there are")
        revoke = verbs.add_parser("revoke", help="refuse a key from now on")
        revoke.add_argument("id", type=int)
        revoke.add_argument("--reason", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor.command_line()
        try:
            match options["verb"]:
                case "create":
                    self._create(options, actor)
                case "list":
                    self._list()
                case "revoke":
                    row = keys.withdraw(options["id"], actor=actor, now=timezone.now(), reason=options["reason"])
                    self.stdout.write(f"The key {row.prefix}… ({row.name}) is refused from now on.")
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal

    def _create(self, options: dict[str, Any], actor: Actor) -> None:
        scopes = [word.strip() for word in options["scopes"].split(",") if word.strip()]
        now = timezone.now()
        key, _ = keys.issue(options["name"], scopes=scopes, actor=actor, now=now, reason=options["reason"])
        self.stdout.write(key)
        self.stderr.write("This is the only time that the key is shown. Keep it like a password.")

    def _list(self) -> None:
        for row in ApiKey.objects.order_by("id"):
            state = "revoked" if row.revoked_at else f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "live"
            self.stdout.write(f"{row.pk} {row.prefix}… {row.name}: {','.join(row.scopes)} ({state})")
