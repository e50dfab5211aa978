"""Each kind of row is forgotten when its time is over, and not before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import Model

from calls.models import CallRecord
from controlplane.accounts.models import LimitUse, OneTimeCode, RefreshToken
from controlplane.actions import retention
from controlplane.outbox.models import Outbox
from controlplane.rest.models import StoredAnswer
from rollout.models import CallEvidence, CapacityDecision, Measurement, Refusal
from tests import builders
from tests.rollout import cast

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def call(at: datetime) -> Model:
    return CallRecord.objects.create(
        id=uuid4(), feature="voice-calls", area="DE", caller=b"a", callee=b"b", media="voice", state="ended",
        created_at=at,
    )  # fmt: skip


def refusal(at: datetime) -> Model:
    return Refusal.objects.create(feature=cast.feature(), call=uuid4(), inviter=uuid4(), outcome="depth", at=at)


ROWS: dict[str, tuple[Callable[[datetime], Model], timedelta]] = {
    "CallRecord": (call, 30 * DAY),
    "CallEvidence": (
        lambda at: CallEvidence.objects.create(call=uuid4(), feature="voice-calls", area="DE", at=at),
        30 * DAY,
    ),
    "Refusal": (refusal, 90 * DAY),
    "Measurement": (
        lambda at: Measurement.objects.create(area=cast.area(), sampled_at=at, concurrent_calls=1, attempts=1),
        14 * DAY,
    ),
    "CapacityDecision": (lambda at: CapacityDecision.objects.create(area=cast.area(), at=at, minted=0), 14 * DAY),
    "StoredAnswer": (lambda at: StoredAnswer.objects.create(digest=b"d", request=b"r", created_at=at), DAY),
    "Outbox": (lambda at: Outbox.objects.create(key="a", kind="k", delivered_at=at), DAY),
    "OneTimeCode": (
        lambda at: OneTimeCode.objects.create(
            phone_hash=b"h", phone_sealed=b"s", code_hash=b"c", sent_at=at, expires_at=at
        ),
        DAY,
    ),
    "RefreshToken": (
        lambda at: RefreshToken.objects.create(
            device=builders.device(builders.subscriber()), digest=b"d", issued_at=at, expires_at=at
        ),
        timedelta(),
    ),
    "Session": (lambda at: Session.objects.create(session_key="s", session_data="", expire_date=at), timedelta()),
    "LimitUse": (lambda at: LimitUse.objects.create(limit="l", subject=b"s", started_at=at, used=1), 2 * DAY),
}


def test_every_kind__that_is_forgotten__is_tried_here() -> None:
    assert {each.model.__name__ for each in retention.kept()} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_row__kept_long_enough__is_forgotten_and_not_before(name: str) -> None:
    make, time = ROWS[name]
    row = make(NOON)

    assert retention.forget_old(NOON + time) == {}
    assert retention.forget_old(NOON + time + timedelta(seconds=1)) == {name: 1}
    assert not type(row)._default_manager.filter(pk=row.pk).exists()


def test_rows__more_than_a_batch__all_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        call(NOON)

    assert retention.forget_old(NOON + 31 * DAY) == {"CallRecord": 5}


def test_time__that_the_deployment_sets__counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(settings, "ENV", replace(settings.ENV, record_days=2))
    call(NOON)

    assert retention.forget_old(NOON + 3 * DAY) == {"CallRecord": 1}


def test_effect__not_delivered__stays_whatever_its_age() -> None:
    Outbox.objects.create(key="a", kind="k", created_at=NOON)

    assert retention.forget_old(NOON + 400 * DAY) == {}
