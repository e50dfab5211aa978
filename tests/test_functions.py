"""SQL functions follow their files: installed by `migrate`, named when stale, refused when their signature changes."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from controlplane import checks
from controlplane.actions import functions

pytestmark = pytest.mark.django_db(transaction=True)
ONE = "CREATE OR REPLACE FUNCTION rollout_tried(p integer) RETURNS integer LANGUAGE sql AS $$ SELECT p + 1 $$;"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    texts = functions.sources()
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS rollout_tried(integer), rollout_tried(bigint)")
    functions.install(texts)


def tried(value: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rollout_tried(%s::integer)", [value])
        return int(cursor.fetchone()[0])


def test_functions__after_migrate__none_is_stale() -> None:
    assert functions.stale() == []
    assert checks.check_functions(None, databases=["default"]) == []


def test_functions__edited_file__named_by_the_check_and_installed_by_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    edited = functions.sources() | {"rollout/tried": ONE}
    monkeypatch.setattr(functions, "sources", lambda: edited)

    (found,) = checks.check_functions(None, databases=["default"])
    said = StringIO()
    call_command("migrate", stdout=said)

    assert "rollout/tried" in found.msg
    assert "Installed 1 SQL functions" in said.getvalue()
    assert tried(1) == 2
    assert checks.check_functions(None, databases=["default"]) == []


@pytest.mark.parametrize(
    "changed",
    [ONE.replace("p integer", "p bigint"), ONE.replace("RETURNS integer", "RETURNS text").replace("p + 1", "'x'")],
)
def test_functions__changed_signature__refused_and_the_old_one_stays(
    monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    texts = functions.sources()
    functions.install(texts | {"rollout/tried": ONE})
    monkeypatch.setattr(functions, "sources", lambda: texts | {"rollout/tried": changed})

    with pytest.raises(CommandError, match="new name"):
        call_command("migrate", verbosity=0)

    assert tried(1) == 2
    assert functions.installed()["rollout/tried"] == functions.digests({"": ONE})[""]
