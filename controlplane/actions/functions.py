"""The SQL functions that the edge shares with the actions: one file a verb, installed after every `migrate`.

Which version of each stands in the database is told by a function of its own, `rollcall_functions()`, so that a stale
one can be named. Two versions of Rollcall may run side by side while they are replaced one by one, so a function whose
parameters or answer change gets a new name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import psycopg
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from controlplane.base.env import ROOT

FOLDERS = (ROOT / "rollout" / "actions" / "sql", ROOT / "calls" / "sql")


class SignatureChanged(Exception):
    """A function stands in the database with other parameters or another answer; nothing was installed."""


def sources(folders: tuple[Path, ...] = FOLDERS) -> dict[str, str]:
    """The text of every file, by its place in the project."""
    paths = sorted(path for folder in folders for path in folder.glob("*.sql"))
    return {f"{path.parent.parent.name}/{path.stem}": path.read_text(encoding="utf-8") for path in paths}


def digests(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def installed() -> dict[str, str]:
    """The digest of each file as it was installed; empty where none ever was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regprocedure('rollcall_functions()') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute("SELECT key, value FROM jsonb_each_text(rollcall_functions())")
        return dict(cursor.fetchall())


def stale(texts: Mapping[str, str] | None = None) -> list[str]:
    """Which files differ from what the database has, by name."""
    present = installed()
    return [
        name for name, digest in digests(sources() if texts is None else texts).items() if present.get(name) != digest
    ]


@transaction.atomic
def install(texts: Mapping[str, str] | None = None) -> list[str]:
    """The files that differed, which stand in the database afterwards. Raises `SignatureChanged`."""
    texts = sources() if texts is None else texts
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('rollcall functions'))")
        differing = stale(texts)
        if not differing and installed().keys() == texts.keys():
            return []
        # The functions call each other, and files are installed by name: bodies are checked when they run.
        cursor.execute("SET LOCAL check_function_bodies = off")
        for name in differing:
            try:
                cursor.execute(texts[name])
            except ProgrammingError as error:
                if not isinstance(error.__cause__, psycopg.errors.InvalidFunctionDefinition):
                    raise
                raise SignatureChanged(_advice(name)) from error
        cursor.execute(
            "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname ="
            " current_schema() AND p.proname ~ '^(rollout|calls)_' GROUP BY p.proname HAVING count(*) > 1"
        )
        if twice := [name for (name,) in cursor.fetchall()]:
            raise SignatureChanged(_advice(", ".join(twice)))
        body = psycopg.sql.Literal(f"SELECT '{json.dumps(digests(texts))}'::jsonb")
        cursor.execute(
            psycopg.sql.SQL(
                "CREATE OR REPLACE FUNCTION rollcall_functions() RETURNS jsonb LANGUAGE sql IMMUTABLE AS {body}"
            ).format(body=body)
        )
    return differing


def _advice(name: str) -> str:
    return (
        f"The SQL function of {name} has other parameters or another answer than the one in the database, which edges"
        " of the earlier version still call. Give it a new name, and let its callers use that."
    )
