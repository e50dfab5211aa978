"""`manage.py migrate`: Django's own, and then the SQL functions that differ from their files."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate

from controlplane.actions.functions import SignatureChanged, install


class Command(Migrate):
    def get_check_kwargs(self, options: Any) -> Any:
        """Without the checks of the database: one of them names the functions that are stale until this is done."""
        return {**super().get_check_kwargs(options), "databases": None}

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if options["plan"] or options["check_unapplied"] or options["app_label"]:
            return
        try:
            installed = install()
        except SignatureChanged as why:
            raise CommandError(str(why)) from why
        if installed and options["verbosity"] > 0:
            self.stdout.write(f"  Installed {len(installed)} SQL functions.")
