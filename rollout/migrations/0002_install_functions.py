"""Installs the SQL functions of rollout/actions/sql, one file a verb.

A later change of a function is a new migration with the same `install`: every file says CREATE OR REPLACE, so installing
again is safe. A function whose parameters change is dropped first, by that migration.
"""

from pathlib import Path

from django.db import migrations

FILES = Path(__file__).resolve().parent.parent / "actions" / "sql"


def install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        # The functions call each other, and files are installed by name: bodies are checked when they run.
        cursor.execute("SET LOCAL check_function_bodies = off")
        for path in sorted(FILES.glob("*.sql")):
            cursor.execute(path.read_text(encoding="utf-8"))


def remove(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = current_schema() AND starts_with(p.proname, 'rollout_')"
        )
        for (signature,) in cursor.fetchall():
            cursor.execute(f"DROP FUNCTION IF EXISTS {signature}")


class Migration(migrations.Migration):
    dependencies = [
        ("rollout", "0001_tables"),
        ("accounts", "0001_tables"),
        ("outbox", "0001_tables"),
    ]

    operations = [migrations.RunPython(install, remove)]
