"""Beat: sends the names of due tasks, and nothing else. It loads the settings but no application, to stay small.

It keeps nothing on disk: every task is due when it starts, since all are safe to repeat.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, beat
from celery.signals import setup_logging

from controlplane import settings
from controlplane.base import logs

app = Celery("rollcall", fixups=[])
app.config_from_object("controlplane.settings", namespace="CELERY")


@setup_logging.connect
def _configure_logging(**kwargs: Any) -> None:
    logs.configure(os.environ.get("ROLLCALL_PROCESS", "beat"), json=settings.ENV.log_json)


class Scheduler(beat.Scheduler):
    """The schedule of the settings, in memory."""

    def setup_schedule(self) -> None:
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = entry.last_run_at - entry.schedule.run_every
