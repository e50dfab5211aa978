from django.apps import AppConfig

from controlplane import celery  # noqa: F401 - so that every Django process nudges through our broker


class ControlplaneConfig(AppConfig):
    name = "controlplane"
    label = "controlplane"
