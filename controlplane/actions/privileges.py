"""What the application's database role may do: use the tables, and own none of them.

`manage.py migrate` runs as the owner and then grants the application what it needs. Of the audit that is to read it, to
add to it and to seal it: whoever can say SQL in the application's name can't switch off what protects the audit.
"""

from __future__ import annotations

from django.db import connection
from psycopg import sql

GRANTS = (
    "GRANT USAGE ON SCHEMA {schema} TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
    "REVOKE UPDATE, DELETE ON audit_auditentry FROM {role}",
    "GRANT UPDATE (sequence, previous, digest) ON audit_auditentry TO {role}",
    "REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}",
)


def grant(role: str) -> None:
    """The application's role can do its work afterwards. Call it as the owner, when the tables are there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        schema = cursor.fetchone()[0]
        for statement in GRANTS:
            cursor.execute(sql.SQL(statement).format(schema=sql.Identifier(schema), role=sql.Identifier(role)))


def owner_of_audit() -> str:
    """Which role owns the audit, if the one that asks could act as that role; otherwise empty."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_userbyid(relowner) FROM pg_class"
            " WHERE oid = to_regclass('audit_auditentry') AND pg_has_role(relowner, 'MEMBER')"
        )
        row = cursor.fetchone()
    return str(row[0]) if row else ""
