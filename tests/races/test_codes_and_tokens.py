"""Many guesses, sends and refreshes at once: each limit holds exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from controlplane.accounts.actions import registration, tokens
from controlplane.accounts.actions.devices import NewDevice, revoke_device
from controlplane.accounts.actions.registration import Challenge
from controlplane.accounts.actions.tokens import Session
from controlplane.accounts.errors import CodeLimit, CodeRefused, RefreshRefused
from controlplane.accounts.models import Device, OneTimeCode, RefreshToken, Subscriber
from tests import builders
from tests.builders import NOON
from tests.races.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)

ALICE = "+493090182000"
LATER = NOON + timedelta(minutes=5)


def guess(challenge: Challenge, code: str, *, now: datetime = NOON) -> Session:
    described = NewDevice(
        id=uuid4(),
        platform="android",
        app_version="2.11.500",
        os_version="",
        device_class="mid",
        label="",
        language="",
        ed25519=bytes(32),
        x25519=bytes(32),
    )
    return registration.verify(
        challenge.id,
        code=code,
        device=described,
        carrier="",
        address="203.0.113.7",
        claims=lambda _: {},
        unlink=lambda _: None,
        now=now,
    )


def test_fifty_wrong_guesses__at_once__count_as_five_and_end_the_code() -> None:
    challenge = registration.begin(ALICE, address="203.0.113.7", now=NOON)
    wrong = [f"{(int(challenge.code) + 1 + number) % 10**6:06d}" for number in range(50)]

    outcomes = at_once(50, lambda number: guess(challenge, wrong[number]))

    assert {type(outcome) for outcome in outcomes} == {CodeRefused}
    assert OneTimeCode.objects.get().tries == 5
    with pytest.raises(CodeRefused):
        guess(challenge, challenge.code)


def test_right_code__sent_by_eight_at_once__signs_one_in() -> None:
    challenge = registration.begin(ALICE, address="203.0.113.7", now=NOON)

    outcomes = at_once(8, lambda number: guess(challenge, challenge.code))

    assert sum(isinstance(outcome, Session) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes} == {Session, CodeRefused}
    assert Subscriber.objects.count() == 1


def test_two_codes__of_one_new_number_at_once__make_one_subscriber() -> None:
    challenges = [registration.begin(ALICE, address="203.0.113.7", now=NOON) for _ in range(6)]

    outcomes = at_once(6, lambda number: guess(challenges[number], challenges[number].code))

    assert [type(outcome) for outcome in outcomes] == [Session] * 6
    assert Subscriber.objects.count() == 1
    assert Device.objects.live().count() == 1
    assert live_tokens() == 1


def test_sixteen_sends__at_once__keep_to_one_in_thirty_seconds(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, demonstration=False)

    outcomes = at_once(16, lambda number: registration.begin(ALICE, address=f"203.0.113.{number}", now=NOON))

    assert sum(isinstance(outcome, Challenge) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, CodeLimit) for outcome in outcomes) == 15
    assert OneTimeCode.objects.count() == 1


def test_sends_of_all_the_world__at_once__keep_to_the_days_budget(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, demonstration=False, codes_per_day=10)

    outcomes = at_once(
        24, lambda number: registration.begin(f"+4930901{number:02d}000", address=f"203.0.113.{number}", now=NOON)
    )

    assert sum(isinstance(outcome, Challenge) for outcome in outcomes) == 10
    assert OneTimeCode.objects.count() == 10


def test_one_refresh_token__spent_by_sixteen_at_once__has_one_successor() -> None:
    device = builders.device(builders.subscriber())
    first = tokens.start_session(device, claims=lambda _: {}, now=NOON)
    later = NOON + timedelta(seconds=100)

    outcomes = at_once(16, lambda _: tokens.refresh(first.refresh_token, claims=lambda _: {}, now=later))

    assert len({outcome.refresh_token for outcome in outcomes if isinstance(outcome, Session)}) == 1
    assert [type(outcome) for outcome in outcomes] == [Session] * 16
    assert RefreshToken.objects.count() == 2
    assert RefreshToken.objects.filter(spent_at__isnull=True).count() == 1


def while_a_refresh_commits(token: str, act: Callable[[], Any]) -> list[Any]:
    """The refresh has spent the token and stored its successor; `act` comes before it commits."""
    inside, go = threading.Event(), threading.Event()

    def slowly(_: Device) -> dict[str, Any]:
        inside.set()
        go.wait(10)
        return {}

    def second() -> Any:
        assert inside.wait(10)
        threading.Timer(0.5, go.set).start()
        return act()

    return at_once(2, lambda i: second() if i else tokens.refresh(token, claims=slowly, now=LATER))


def live_tokens() -> int:
    return RefreshToken.objects.filter(spent_at__isnull=True).count()


def test_signing_out__while_a_refresh_commits__leaves_no_token() -> None:
    first = tokens.start_session(builders.device(builders.subscriber()), claims=lambda _: {}, now=NOON)

    while_a_refresh_commits(first.refresh_token, lambda: tokens.revoke(first.refresh_token, now=LATER))

    assert live_tokens() == 0


def test_stolen_token__coming_back_while_the_thief_refreshes__ends_the_device() -> None:
    first = tokens.start_session(builders.device(builders.subscriber()), claims=lambda _: {}, now=NOON)
    second = tokens.refresh(first.refresh_token, claims=lambda _: {}, now=NOON)

    def come_back() -> None:
        tokens.refresh(first.refresh_token, claims=lambda _: {}, now=LATER)

    _, owner = while_a_refresh_commits(second.refresh_token, come_back)

    assert isinstance(owner, RefreshRefused)
    assert live_tokens() == 0


def while_a_refresh_decides(token: str, act: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The refresh has locked what it needs and has written nothing yet, when `act` comes."""
    inside, go, decide = threading.Event(), threading.Event(), tokens._decide

    def slowly(*facts: Any) -> Any:
        inside.set()
        go.wait(10)
        return decide(*facts)

    def second() -> Any:
        assert inside.wait(10)
        threading.Timer(0.5, go.set).start()
        return act()

    monkeypatch.setattr(tokens, "_decide", slowly)
    return at_once(2, lambda i: second() if i else tokens.refresh(token, claims=lambda _: {}, now=LATER))


def test_number__registered_anew_while_the_old_phone_refreshes__leaves_only_the_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = builders.device(builders.subscriber(phone=ALICE))
    first = tokens.start_session(device, claims=lambda _: {}, now=NOON)
    challenge = registration.begin(ALICE, address="203.0.113.7", now=LATER)

    answers = while_a_refresh_decides(
        first.refresh_token, lambda: guess(challenge, challenge.code, now=LATER), monkeypatch
    )

    assert [type(answer) for answer in answers] == [Session, Session]
    assert live_tokens() == 1


def test_revoking_a_device__while_it_refreshes__leaves_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    device = builders.device(builders.subscriber())
    first = tokens.start_session(device, claims=lambda _: {}, now=NOON)

    answers = while_a_refresh_decides(first.refresh_token, lambda: revoke_device(device.id, now=LATER), monkeypatch)

    assert [type(answer) for answer in answers] == [Session, bool]
    assert live_tokens() == 0
