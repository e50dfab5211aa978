"""Registration: codes, guesses, limits, and signing in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog.testing
from django.db import connection
from django.test.utils import CaptureQueriesContext
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from calls.rules import devices as phones_rule
from controlplane.accounts.actions import registration, tokens
from controlplane.accounts.actions.devices import NewDevice, put_device_list, revoke_device
from controlplane.accounts.actions.registration import Challenge
from controlplane.accounts.actions.tokens import Session
from controlplane.accounts.errors import (
    CodeLimit,
    CodeRefused,
    CodesPaused,
    DeviceRefused,
    PhoneNotServed,
    RefreshRefused,
)
from controlplane.accounts.models import Device, LimitUse, OneTimeCode, RefreshToken, Subscriber
from controlplane.outbox.models import Outbox
from tests import builders
from tests.builders import NOON

pytestmark = pytest.mark.django_db

ALICE, BOB = "+493090182000", "+493090182001"
HERE = "203.0.113.7"


def begin(phone: str = ALICE, *, address: str = HERE, after: float = 0) -> Challenge:
    return registration.begin(phone, address=address, now=NOON + timedelta(seconds=after))


def new_device(**changes: Any) -> NewDevice:
    device = NewDevice(
        id=uuid4(),
        platform="android",
        app_version="2.11.500",
        os_version="4.4.2",
        device_class="low",
        label="Alice's phone",
        language="de-DE",
        ed25519=bytes(SigningKey.generate().verify_key),
        x25519=bytes(PrivateKey.generate().public_key),
    )
    return replace(device, **changes)


def verify(challenge: Challenge, *, code: str | None = None, after: float = 1, **changes: Any) -> Session:
    given = {
        "device": new_device(),
        "carrier": "262-03",
        "address": HERE,
        "claims": lambda device: {},
        "unlink": lambda id: None,
        **changes,
    }
    now = NOON + timedelta(seconds=after)
    return registration.verify(challenge.id, code=challenge.code if code is None else code, now=now, **given)


def wrong(challenge: Challenge) -> str:
    return f"{(int(challenge.code) + 1) % 10**6:06d}"


@pytest.fixture
def real_deployment(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, demonstration=False)


def test_code__when_sent__stands_as_a_keyed_hash_only() -> None:
    challenge = begin()

    row = OneTimeCode.objects.get(id=challenge.id)

    assert bytes(row.code_hash) != challenge.code.encode()
    assert challenge.code not in str(vars(row))
    assert challenge.code not in repr(challenge)
    assert row.country == "DE"


def test_code__when_right__makes_a_subscriber_with_a_device() -> None:
    session = verify(begin(), device=new_device(label="My phone"))

    subscriber = Subscriber.objects.get()
    assert session.subscriber == subscriber.id
    assert subscriber.id.version == 7
    assert (subscriber.country, subscriber.carrier, subscriber.language) == ("DE", "262-03", "de-DE")
    assert ALICE.encode() not in bytes(subscriber.phone_hash) + bytes(subscriber.phone_sealed)
    assert Device.objects.get(id=session.device).label == "My phone"


def test_number__that_is_known__signs_in_as_the_same_subscriber() -> None:
    alice = builders.subscriber(phone=ALICE, name="Alice", carrier="262-01")

    session = verify(begin(), carrier="")

    assert session.subscriber == alice.id
    alice.refresh_from_db()
    assert (alice.name, alice.carrier) == ("Alice", "262-01")


def test_answer__for_known_and_unknown_numbers__is_the_same() -> None:
    builders.subscriber(phone=ALICE)

    known, unknown = begin(ALICE), begin(BOB)

    assert (known.expires_in, known.resend_after) == (unknown.expires_in, unknown.resend_after)


def test_work__for_known_and_unknown_numbers__is_the_same() -> None:
    builders.subscriber(phone=ALICE)
    asked = []
    for phone in (ALICE, BOB):
        with CaptureQueriesContext(connection) as queries:
            begin(phone)
        asked.append([query["sql"].split("VALUES")[0] for query in queries if "SAVEPOINT" not in query["sql"]])

    assert asked[0] == asked[1]
    assert not any("accounts_subscriber" in sql for sql in asked[0])


def test_code__that_is_wrong__is_refused_and_counted() -> None:
    challenge = begin()

    with pytest.raises(CodeRefused):
        verify(challenge, code=wrong(challenge))

    assert OneTimeCode.objects.get(id=challenge.id).tries == 1
    assert verify(challenge).subscriber


def test_code__after_five_wrong_ones__is_refused_though_right() -> None:
    challenge = begin()
    for _ in range(5):
        with pytest.raises(CodeRefused):
            verify(challenge, code=wrong(challenge))

    with pytest.raises(CodeRefused):
        verify(challenge)

    assert OneTimeCode.objects.get(id=challenge.id).tries == 5
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize(("after", "accepted"), [(599, True), (600, False)])
def test_code__for_ten_minutes__is_good(after: float, accepted: bool) -> None:
    challenge = begin()

    if accepted:
        assert verify(challenge, after=after)
    else:
        with pytest.raises(CodeRefused):
            verify(challenge, after=after)


def test_code__when_spent__is_refused() -> None:
    challenge = begin()
    verify(challenge)

    with pytest.raises(CodeRefused):
        verify(challenge)


def test_refusals__whatever_their_cause__say_the_same() -> None:
    challenge, spent = begin(), begin()
    verify(spent)
    unknown = replace(challenge, id=UUID(int=1))
    said = set()

    for asked, code, after in (
        (challenge, wrong(challenge), 1),
        (challenge, challenge.code, 9999),
        (spent, spent.code, 1),
        (unknown, challenge.code, 1),
    ):
        with pytest.raises(CodeRefused) as refused:
            verify(asked, code=code, after=after)
        said.add(str(refused.value.as_problem()))

    assert len(said) == 1


@pytest.mark.parametrize("whose", ["somebody else's", "one's own", "revoked"])
def test_device_id__that_was_used__is_refused_and_the_code_stays_good(whose: str) -> None:
    owner = builders.subscriber(phone=BOB if whose == "somebody else's" else ALICE)
    taken = builders.device(owner)
    if whose == "revoked":
        revoke_device(taken.id, now=NOON)
    challenge = begin(ALICE)

    with pytest.raises(DeviceRefused):
        verify(challenge, device=new_device(id=taken.id))

    taken.refresh_from_db()
    assert taken.subscriber_id == owner.id
    assert (taken.revoked_at is None) == (whose != "revoked")
    assert verify(challenge)


def test_number__registered_anew__ends_every_other_device_and_nobody_elses() -> None:
    first = verify(begin(), device=new_device(push_service="fcm", push_token="secret-push-token"))
    stranger = verify(begin(BOB))

    second = verify(begin(), after=2)

    assert first.subscriber == second.subscriber
    assert {device.id for device in Device.objects.live()} == {second.device, stranger.device}
    ended = Device.objects.get(id=first.device)
    assert (ended.revoked_at, ended.push_token_sealed) == (NOON + timedelta(seconds=2), None)
    assert {token.device_id for token in RefreshToken.objects.all()} == {second.device, stranger.device}
    told = Outbox.objects.get(kind="device.revoked")
    assert told.payload == {"subscriber": str(first.subscriber), "device": str(first.device)}
    with pytest.raises(RefreshRefused):
        tokens.refresh(first.refresh_token, claims=lambda device: {}, now=NOON + timedelta(seconds=3))


SILENT = 45 * 86_400


def signed_by(account: SigningKey, challenge: Challenge, device: NewDevice) -> bytes:
    keys = phones_rule.DeviceKeys(str(device.id), device.ed25519, device.x25519)
    return phones_rule.sign_registration(str(challenge.id), keys, bytes(account))


@pytest.mark.parametrize(
    ("after", "key", "same"),
    [
        (SILENT, "none", False),
        (SILENT, "another", False),
        (SILENT, "the account's", True),
        (SILENT - 1, "none", True),
        (SILENT - 1, "another", True),
    ],
)
def test_number__after_it_was_silent__starts_as_somebody_new_unless_the_key_is_shown(
    after: int, key: str, same: bool
) -> None:
    account = SigningKey.generate()
    first = verify(begin(), device=(old := new_device()))
    publish(first, old, account)
    told: list[UUID] = []
    challenge, device = begin(after=after), new_device()
    signers = {"the account's": account, "another": SigningKey.generate()}
    signature = signed_by(signers[key], challenge, device) if key in signers else b""

    second = verify(
        challenge, device=device, after=after + 1, account_signature=signature, unlink=lambda id: told.append(id)
    )

    assert (second.subscriber == first.subscriber) is same
    assert told == ([] if same else [first.subscriber])
    assert list(Subscriber.objects.values_list("id", flat=True)) == [second.subscriber]


def publish(session: Session, device: NewDevice, account: SigningKey) -> None:
    own = phones_rule.DeviceKeys(str(device.id), device.ed25519, device.x25519)
    listed = phones_rule.DeviceList(str(session.subscriber), bytes(account.verify_key), 1, b"", (own,))
    body = listed.as_bytes()
    signature = phones_rule.sign(body, bytes(account))
    put_device_list(body, signature=signature, device=Device.objects.get(id=device.id), now=NOON)


def test_days_of_silence__are_a_setting__and_end_with_a_refresh(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, silent_days=2)
    first = verify(begin())
    tokens.refresh(first.refresh_token, claims=lambda device: {}, now=NOON + timedelta(days=1))

    second = verify(begin(after=2 * 86_400), after=2 * 86_400 + 1)
    third = verify(begin(after=5 * 86_400), after=5 * 86_400)

    assert first.subscriber == second.subscriber != third.subscriber


def test_number__that_the_messenger_brought_in_long_ago__was_never_silent() -> None:
    alice = builders.subscriber(phone=ALICE, joined_at=NOON - timedelta(days=400))

    assert verify(begin()).subscriber == alice.id


def test_push_token__is_stored_sealed(settings: Any) -> None:
    session = verify(begin(), device=new_device(push_service="fcm", push_token="secret-push-token"))

    sealed = bytes(Device.objects.get(id=session.device).push_token_sealed or b"")
    assert b"secret-push-token" not in sealed
    assert settings.KEYS.push.decrypt(sealed) == b"secret-push-token"


def test_fault_while_signing_in__leaves_the_code_good() -> None:
    challenge = begin()

    def fail(device: Device) -> dict[str, Any]:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        verify(challenge, claims=fail)

    assert not Subscriber.objects.exists()
    assert verify(challenge)


@pytest.mark.usefixtures("real_deployment")
def test_codes__to_one_number__are_five_a_day_and_one_in_thirty_seconds() -> None:
    begin(after=0)
    with pytest.raises(CodeLimit) as too_soon:
        begin(after=29)
    assert too_soon.value.retry_after == 1
    for number in range(1, 5):
        begin(after=40 * number)

    with pytest.raises(CodeLimit) as too_many:
        begin(after=1000)

    assert too_many.value.retry_after == 86_400 - 1000
    assert begin(BOB, after=1000)
    assert begin(after=86_400)


@pytest.mark.usefixtures("real_deployment")
def test_codes__to_neighbouring_numbers__are_a_hundred_a_day() -> None:
    for number in range(100):
        begin(f"+493090182{number:03d}", address=f"203.0.113.{number % 8}")

    with pytest.raises(CodeLimit):
        begin("+493090182999", address="203.0.113.200")

    assert begin("+493090183999", address="203.0.113.200")


@pytest.mark.usefixtures("real_deployment")
@pytest.mark.parametrize(
    ("addresses", "same"),
    [
        (["203.0.113.7", "203.0.113.7"], True),
        (["203.0.113.7", "::ffff:203.0.113.7"], True),
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"], True),
        (["2001:db8:0:1::1", "2001:db8:0:2::1"], False),
        (["203.0.113.7", "203.0.113.8"], False),
    ],
)
def test_codes__asked_for_from_one_address__are_sixty_an_hour(addresses: list[str], same: bool) -> None:
    for number in range(60):
        begin(f"+4930901{number:02d}000", address=addresses[0])

    if same:
        with pytest.raises(CodeLimit):
            begin(BOB, address=addresses[1])
    else:
        assert begin(BOB, address=addresses[1])


@pytest.mark.usefixtures("real_deployment")
def test_codes__of_a_day__end_closed_and_nothing_else_is_counted(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, codes_per_day=1)
    begin(ALICE)

    with pytest.raises(CodesPaused) as refused:
        begin(BOB)

    assert refused.value.status == 503
    assert refused.value.retry_after == 86_400
    assert OneTimeCode.objects.count() == 1
    assert LimitUse.objects.get(limit="code.address").used == 1


@pytest.mark.usefixtures("real_deployment")
def test_guesses__from_one_address__are_a_hundred_and_twenty_an_hour() -> None:
    nobody = Challenge(id=UUID(int=1), phone=ALICE, expires_in=600, resend_after=30, code="000000")
    for _ in range(120):
        with pytest.raises(CodeRefused):
            verify(nobody)

    with pytest.raises(CodeLimit):
        verify(nobody)
    with pytest.raises(CodeRefused):
        verify(nobody, address="203.0.113.200")


def test_country__outside_of_the_list__is_refused(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, code_countries=("DE",))
    begin(ALICE)

    with pytest.raises(PhoneNotServed) as refused:
        begin("+12025550123")

    assert refused.value.extra["cause"] == "country"


@pytest.mark.parametrize(("demonstration", "shown"), [(True, True), (False, False)])
def test_log_sender__shows_the_code__in_a_demonstration_only(
    settings: Any, demonstration: bool, shown: bool, django_capture_on_commit_callbacks: Any
) -> None:
    settings.ENV = replace(settings.ENV, demonstration=demonstration)
    with structlog.testing.capture_logs() as logged, django_capture_on_commit_callbacks(execute=True):
        challenge = begin()

    (sent,) = (event for event in logged if event["event"] == "code.sent")
    assert (challenge.code in str(sent)) is shown
    assert ALICE not in str(sent)
