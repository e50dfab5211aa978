"""The composition root, as Django sees it."""

from __future__ import annotations

from django.apps import AppConfig

from controlplane import celery  # so that every Django process nudges through our broker


class ControlplaneConfig(AppConfig):
    name = "controlplane"
    label = "controlplane"

    def ready(self) -> None:
        from controlplane import checks  # registers the system checks, which need the registry

        celery.app.set_default()
        assert checks
