"""The audit trail in its table: append-only, chained in the order of commits, signed in a second place."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from controlplane.audit.models import AuditEntry
from controlplane.audit.record import Actor, record
from controlplane.audit.rules.verbs import Right
from controlplane.audit.seal import IMPATIENT_AFTER, head_path, seal, sign_head
from controlplane.audit.verify import verify
from controlplane.base.refusal import NotAllowed
from controlplane.outbox.models import Outbox
from tests.builders import NOON

OLGA = Actor.operator("olga", Right)


@pytest.fixture(autouse=True)
def second_place(settings: Any, tmp_path: Path) -> None:
    settings.ENV = replace(settings.ENV, data=tmp_path)


def write(count: int = 1, **changes: Any) -> list[AuditEntry]:
    wish: dict[str, Any] = {"subject": "feature:voice-calls", "actor": OLGA, "now": NOON, **changes}
    return [record("feature.killed", **wish) for _ in range(count)]


def sql(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def unguarded(db: None) -> None:
    """What somebody does who owns the table: the triggers are off, and stay off in this test's transaction only."""
    sql("ALTER TABLE audit_auditentry DISABLE TRIGGER USER")


@pytest.mark.django_db
def test_record__holds_who_did_what_when_and_why() -> None:
    detail = {"at": NOON, "id": UUID(int=1), "places": {"before": 5, "after": 10}}

    entry = record("window.opened", subject="window:1", actor=OLGA, now=NOON, reason="demand", detail=detail)

    entry.refresh_from_db()
    assert (entry.actor_kind, entry.actor, entry.reason, entry.sequence) == ("operator", "olga", "demand", None)
    assert entry.detail == {
        "at": "2026-03-14T12:00:00Z",
        "id": str(UUID(int=1)),
        "places": {"before": 5, "after": 10},
    }


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rights", "verb", "missing"),
    [([], "feature.killed", "operator"), ([Right.OPERATE], "operator.created", "admin")],
)
def test_record__by_somebody_without_the_right__refuses_and_undoes_the_change(
    rights: list[Right], verb: str, missing: str
) -> None:
    def change(rights: list[Right]) -> None:
        with transaction.atomic():
            Outbox.objects.create(key="what the action did", kind="test")
            record(verb, subject="x", actor=Actor.operator("mallory", rights), now=NOON)

    with pytest.raises(NotAllowed, match=missing):
        change(rights)

    assert not Outbox.objects.exists()
    change([*Right])
    assert (AuditEntry.objects.get().actor, Outbox.objects.count()) == ("mallory", 1)


@pytest.mark.django_db
def test_record__of_a_verb_that_is_not_listed__fails() -> None:
    with pytest.raises(KeyError, match="list it there"):
        record("feature.forgotten", subject="x", actor=OLGA, now=NOON)


@pytest.mark.django_db
def test_record__of_a_change_that_failed__does_not_stand() -> None:
    def change() -> None:
        with transaction.atomic():
            write()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()

    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditentry SET actor = 'mallory'",
        "UPDATE audit_auditentry SET detail = '{}'",
        "UPDATE audit_auditentry SET id = id + 1000",
        "UPDATE audit_auditentry SET sequence = 7, previous = '\\x00', digest = '\\x00', actor = 'mallory'",
        "UPDATE audit_auditentry SET sequence = 7",
        "UPDATE audit_auditentry SET sequence = NULL, previous = NULL, digest = NULL",
        "DELETE FROM audit_auditentry",
        "INSERT INTO audit_auditentry "
        "(at, actor_kind, actor, verb, subject, reason, detail, sequence, previous, digest) VALUES ("
        "now(), 'operator', 'mallory', 'x', 'y', '', '{}', 99, '\\x00', '\\x00')",
    ],
)
def test_entry__once_written__can_only_be_sealed(sealed: bool, statement: str) -> None:
    write(detail={"n": 1})
    if sealed:
        assert seal(NOON) == 1

    with pytest.raises(IntegrityError):
        sql(statement)

    assert AuditEntry.objects.get().actor == "olga"
    assert seal(NOON) == (0 if sealed else 1)
    assert verify().ok


@pytest.mark.django_db
def test_table__truncated__refuses() -> None:
    sql("ALTER TABLE audit_auditentry ENABLE TRIGGER audit_no_truncate")
    write()

    with pytest.raises(IntegrityError):
        sql("TRUNCATE audit_auditentry")

    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db
def test_seal__chains_what_is_new__each_time() -> None:
    write(3)
    assert seal(NOON) == 3
    write(2)
    assert (seal(NOON), seal(NOON)) == (2, 0)

    found = verify()

    assert (found.ok, found.checked, found.unsealed) == (True, 5, 0)
    assert list(AuditEntry.objects.order_by("id").values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]


@pytest.mark.django_db
def test_verify__before_sealing__counts_who_waits() -> None:
    write(2)

    found = verify()

    assert (found.ok, found.checked, found.unsealed, found.signed_sequence) == (True, 0, 2, None)
    assert "2 more wait" in found.words


@pytest.mark.django_db
@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    "change", ["actor = 'mallory'", "detail = '{\"n\": 2}'", "reason = 'none'", "digest = previous", "at = now()"]
)
def test_verify__after_a_change__names_the_entry(change: str) -> None:
    entries = write(5, detail={"n": 1})
    seal(NOON)
    assert verify().ok

    sql(f"UPDATE audit_auditentry SET {change} WHERE id = %s", entries[2].id)

    found = verify()
    assert (found.ok, found.bad, found.checked) == (False, entries[2].id, 2)
    with pytest.raises(CommandError, match=f"Entry {entries[2].id} "):
        call_command("audit", "verify")


@pytest.mark.django_db
@pytest.mark.usefixtures("unguarded")
def test_verify__after_one_was_removed__names_its_place() -> None:
    entries = write(5)
    seal(NOON)

    sql("DELETE FROM audit_auditentry WHERE id = %s", entries[2].id)

    assert (verify().ok, verify().checked) == (False, 2)


@pytest.mark.django_db
@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("left", [0, 3])
def test_verify__after_the_end_was_cut_off__sees_it_by_the_signed_head(left: int) -> None:
    entries = write(5)
    seal(NOON)
    assert sign_head(NOON) is not None
    assert verify().signed_sequence == 5

    sql("DELETE FROM audit_auditentry WHERE id >= %s", entries[left].id)

    assert not verify().ok
    assert "cut off" in verify().words


@pytest.mark.django_db
@pytest.mark.usefixtures("unguarded")
def test_verify__after_all_was_written_anew__sees_it_by_the_signed_head() -> None:
    write(3)
    seal(NOON)
    sign_head(NOON)
    sql("UPDATE audit_auditentry SET sequence = NULL, previous = NULL, digest = NULL, actor = 'nobody'")
    assert seal(NOON) == 3

    assert "written anew" in verify().words


@pytest.mark.django_db
@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM audit_auditentry WHERE sequence > 3",
        "UPDATE audit_auditentry SET sequence = NULL, previous = NULL, digest = NULL, actor = 'nobody'",
    ],
)
def test_sign_head__of_a_trail_that_lost_what_was_signed__refuses_and_keeps_the_proof(harm: str) -> None:
    write(5)
    seal(NOON)
    sign_head(NOON)
    proof = head_path().read_text()
    sql(harm)
    seal(NOON)

    assert sign_head(NOON + timedelta(minutes=1)) is None

    assert head_path().read_text() == proof
    assert not verify().ok


@pytest.mark.django_db
@pytest.mark.parametrize("spoilt", ["", json.dumps({"sequence": 1, "digest": "00" * 32, "signature": "00" * 64})])
def test_sign_head__over_a_head_that_was_changed__refuses(spoilt: str) -> None:
    write(2)
    seal(NOON)
    sign_head(NOON)
    head_path().write_text(spoilt)

    assert sign_head(NOON) is None

    assert "signature" in verify().words


@pytest.mark.django_db
def test_sign_head__of_a_trail_that_only_grew__signs_its_new_end() -> None:
    write(2)
    seal(NOON)
    sign_head(NOON)
    write(3)
    seal(NOON)

    signed = sign_head(NOON)

    assert signed is not None
    assert signed.sequence == 5
    assert (verify().ok, verify().signed_sequence) == (True, 5)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spoil",
    [
        lambda head: json.dumps({**head, "sequence": 1}),
        lambda head: json.dumps({**head, "digest": "00" * 32}),
        lambda head: json.dumps({**head, "signature": "00" * 64}),
        lambda head: json.dumps({}),
        lambda head: "",
        lambda head: "\x00",
    ],
)
def test_verify__with_a_forged_head__says_so(spoil: Any) -> None:
    write(2)
    seal(NOON)
    sign_head(NOON)

    head_path().write_text(spoil(json.loads(head_path().read_text())))

    assert not verify().ok
    assert "signature" in verify().words


@pytest.mark.django_db
def test_head__is_signed_privately__and_not_before_the_first_entry() -> None:
    assert sign_head(NOON) is None
    assert not head_path().exists()
    write()
    seal(NOON)

    sign_head(NOON)

    assert head_path().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in head_path().parent.iterdir()] == ["audit-head.json"]


@pytest.mark.django_db
def test_command__shows_the_end_and_verifies() -> None:
    write(3, reason="smoke")
    seal(NOON)
    tail, verified = StringIO(), StringIO()

    call_command("audit", "tail", "-n", "2", stdout=tail)
    call_command("audit", "verify", stdout=verified)

    assert len(tail.getvalue().splitlines()) == 2
    assert "operator olga: feature.killed feature:voice-calls – smoke" in tail.getvalue()
    assert "All 3 sealed entries fit." in verified.getvalue()


class Writer:
    """A transaction of another connection that writes one entry and then takes its time."""

    def __init__(self) -> None:
        self.wrote, self.go = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                write(actor=Actor.operator("slow", Right))
                self.wrote.set()
                self.go.wait(10)
        finally:
            connection.close()

    def __enter__(self) -> Writer:
        self.thread.start()
        assert self.wrote.wait(5)
        return self

    def commit(self) -> None:
        self.go.set()
        self.thread.join(5)

    def __exit__(self, *why: object) -> None:
        self.commit()


@pytest.mark.django_db(transaction=True)
def test_seal__while_somebody_writes__waits_and_passes_nobody_over() -> None:
    with Writer() as slow:
        write()  # gets the later id, and commits first

        assert seal(NOON) == 0
        slow.commit()

    assert seal(NOON) == 2
    assert list(AuditEntry.objects.order_by("sequence").values_list("actor", flat=True)) == ["slow", "olga"]
    assert verify().ok


@pytest.mark.django_db(transaction=True)
def test_seal__after_ten_seconds__queues_but_never_holds_up_writers_for_long() -> None:
    with Writer() as slow:
        write()

        assert seal(NOON + IMPATIENT_AFTER) == 0
        write(now=NOON + timedelta(seconds=1))
        slow.commit()

    assert seal(NOON) == 3
