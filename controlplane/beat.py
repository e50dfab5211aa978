"""Beat: sends the names of due tasks, and nothing else. It loads the settings but no application, to stay small."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

from controlplane import logs, settings

app = Celery("rollcall", fixups=[])
app.config_from_object("controlplane.settings", namespace="CELERY")


@setup_logging.connect
def _configure_logging(**kwargs: Any) -> None:
    logs.configure(os.environ.get("ROLLCALL_PROCESS", "beat"), json=settings.ENV.log_json)
