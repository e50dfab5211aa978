"""The application's database role uses the tables and owns none: it can't switch off what protects the audit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from controlplane import checks
from controlplane.actions import privileges
from controlplane.audit.models import AuditEntry
from controlplane.base.locations import OWNER, ROLE, postgres_password
from tests.builders import NOON

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application() -> Iterator[psycopg.Connection[Any]]:
    """A connection in the application's name."""
    if connection.settings_dict["USER"] != OWNER:
        pytest.skip("the tests run on a PostgreSQL of somebody else, which may lack the application's role")
    privileges.grant(ROLE)
    where = connection.get_connection_params()
    with psycopg.connect(
        host=where["host"],
        dbname=where["dbname"],
        user=ROLE,
        password=postgres_password(settings.ENV.secret),
        autocommit=True,
    ) as found:
        yield found


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audit_auditentry DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_no_change ON audit_auditentry",
        "DROP TABLE audit_auditentry",
        "TRUNCATE audit_auditentry",
        "DELETE FROM audit_auditentry",
        "UPDATE audit_auditentry SET actor = 'somebody else'",
        "CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER FUNCTION audit_refuse_change() SECURITY DEFINER",
        f"SET ROLE {OWNER}",
        "SET session_replication_role = replica",
        "DELETE FROM django_migrations",
    ],
)
def test_application__on_what_protects_the_audit__is_refused(
    application: psycopg.Connection[Any], statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute(statement)


def test_application__on_everything_else__can_work(application: psycopg.Connection[Any]) -> None:
    entry = AuditEntry.objects.create(
        at=NOON, actor_kind="operator", actor="olga", channel="rest", verb="area.created", subject="area:DE"
    )
    sealed = application.execute(
        "UPDATE audit_auditentry SET sequence = 1, previous = '\\x00', digest = '\\x01' WHERE id = %s", [entry.pk]
    )
    lacking = application.execute(
        "SELECT relname, privilege FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT has_table_privilege(oid, privilege) ORDER BY 1, 2"
    ).fetchall()

    assert sealed.rowcount == 1
    assert lacking == [
        ("audit_auditentry", "DELETE"),
        ("audit_auditentry", "UPDATE"),
        *(("django_migrations", privilege) for privilege in ("DELETE", "INSERT", "UPDATE")),
    ]


def test_check__application_is_the_owner__warns(application: psycopg.Connection[Any]) -> None:
    (found,) = checks.check_owner(None, databases=["default"])

    assert found.id == "rollcall.W022"
    assert OWNER in found.msg
