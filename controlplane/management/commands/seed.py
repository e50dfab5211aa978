"""`manage.py seed`: the demonstration's people, feature, window and operator. Safe to repeat."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.actions.demonstration import seed
from controlplane.base.refusal import Refusal


class Command(BaseCommand):
    help = "Makes the demonstration: a feature, two areas, three people, an open window, an operator. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = seed(settings.ENV, now=timezone.now())
        except Refusal as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"Seeded {', '.join(done.made)}." if done.made else "The demonstration is there already.")
