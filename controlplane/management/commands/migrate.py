"""`manage.py migrate`: Django's own as the owner of the tables, the SQL functions, and what the application may do."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import connection

from controlplane.actions import privileges
from controlplane.actions.functions import SignatureChanged, install


class Command(Migrate):
    def get_check_kwargs(self, options: Any) -> Any:
        """Without the checks of the database: one of them names the functions that are stale until this is done."""
        return {**super().get_check_kwargs(options), "databases": None}

    def handle(self, *args: Any, **options: Any) -> None:
        application = connection.settings_dict["USER"]
        if settings.OWNER_DATABASE is not None:
            connection.close()
            connection.settings_dict.update(settings.OWNER_DATABASE)
        super().handle(*args, **options)
        if options["plan"] or options["check_unapplied"] or options["app_label"]:
            return
        try:
            installed = install()
        except SignatureChanged as why:
            raise CommandError(str(why)) from why
        if installed and options["verbosity"] > 0:
            self.stdout.write(f"  Installed {len(installed)} SQL functions.")
        if settings.OWNER_DATABASE is not None:
            privileges.grant(application)
