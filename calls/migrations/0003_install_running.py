"""Installs calls_running where the other functions stand already."""

from pathlib import Path

from django.db import migrations

FILE = Path(__file__).resolve().parent.parent / "sql" / "running.sql"


def install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(FILE.read_text(encoding="utf-8"))


class Migration(migrations.Migration):
    dependencies = [("calls", "0002_install_functions")]

    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
