"""The composition root, as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig

from controlplane import celery  # noqa: F401 - so that every Django process nudges through our broker


class ControlplaneConfig(AppConfig):
    name = "controlplane"
    label = "controlplane"

    def ready(self) -> None:
        # Celery's application becomes the one that every task belongs to, and the system checks register themselves.
        from controlplane import celery, checks

        celery.app.set_default()
        assert checks
