"""Installs the functions again: accepts, offers and batches of waves hold a share of the feature's row against a kill."""

from importlib import import_module

from django.db import migrations

install = import_module("rollout.migrations.0002_install_functions").install


class Migration(migrations.Migration):
    dependencies = [("rollout", "0003_audience_revision")]

    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
