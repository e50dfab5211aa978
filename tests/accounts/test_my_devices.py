"""A person's devices over REST: each describes itself, and all are listed, renamed and signed out."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from controlplane.accounts.models import Device, Subscriber
from tests import builders
from tests.journeys.handset import Handset

pytestmark = pytest.mark.django_db

NUMBER = "+493090181234"


@pytest.fixture
def phone() -> Handset:
    handset = Handset(NUMBER).register(carrier="262-01")
    handset.publish()
    return handset


def traits_after_refresh(phone: Handset) -> dict[str, Any]:
    phone.session = phone.refresh().json()
    claims: dict[str, Any] = jwt.decode(phone.token, options={"verify_signature": False})
    return dict(claims["tr"])


def test_phone__whose_app_was_updated__has_its_new_traits_in_the_next_token(phone: Handset) -> None:
    said = {"app_version": "3.0.1", "os_version": "5.1", "carrier": "262-03", "label": "My phone"}

    answer = phone.ask("PATCH", "/v1/me/device", {**said, "network_class": "3g"})

    assert answer.status_code == 200
    assert answer.json() == {
        "id": phone.device, "platform": "android", "app_version": "3.0.1", "os_version": "5.1", "device_class": "mid",
        "network_class": "3g", "label": "My phone",
    }  # fmt: skip
    traits = traits_after_refresh(phone)
    assert {name: traits[name] for name in ("app_version", "os_version", "carrier", "network_class")} == {
        "app_version": "3.0.1", "os_version": "5.1", "carrier": "262-03", "network_class": "3g",
    }  # fmt: skip


def test_phone__that_says_one_thing__keeps_the_rest(phone: Handset) -> None:
    before = phone.ask("GET", "/v1/me").json()

    after = phone.ask("PATCH", "/v1/me/device", {"os_version": ""}).json()

    assert after == {**before["device"], "os_version": ""}
    assert phone.ask("GET", "/v1/me").json()["carrier"] == "262-01"


def test_push_token__is_replaced_sealed_and_taken_away(phone: Handset, settings: Any) -> None:
    phone.ask("PATCH", "/v1/me/device", {"push": {"service": "fcm", "token": "secret-push-token"}})
    row = Device.objects.get()
    assert row.push_service == "fcm"
    assert settings.KEYS.push.decrypt(bytes(row.push_token_sealed or b"")) == b"secret-push-token"

    phone.ask("PATCH", "/v1/me/device", {"push": None})

    row.refresh_from_db()
    assert (row.push_service, row.push_token_sealed) == ("", None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("app_version", {"app_version": ""}),
        ("app_version", {"app_version": "1" * 65}),
        ("app_version", {"app_version": None}),
        ("os_version", {"os_version": ["4"]}),
        ("carrier", {"carrier": "vodafone"}),
        ("carrier", {"carrier": ""}),
        ("network_class", {"network_class": "6g"}),
        ("push.service", {"push": {"service": "F C M", "token": "t"}}),
        ("push.token", {"push": {"service": "fcm"}}),
        ("label", {"label": "evil\u202egnihton"}),
        ("platform", {"platform": "ios"}),
        (None, {}),
    ],
)
def test_phone__that_says_what_cannot_be__is_told_where_and_changes_nothing(
    phone: Handset, path: str | None, said: dict[str, Any]
) -> None:
    before = Device.objects.values().get(), Subscriber.objects.values().get()

    answer = phone.ask("PATCH", "/v1/me/device", {"os_version": "9", **said} if said else said)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_input")
    assert path is None or path in [error["path"] for error in answer.json()["errors"]]
    assert (Device.objects.values().get(), Subscriber.objects.values().get()) == before


def test_devices__are_listed_with_which_one_asks_and_which_are_on_the_list(phone: Handset) -> None:
    builders.device(builders.subscriber())
    owner = Subscriber.objects.get(id=phone.subscriber)
    tablet = builders.device(owner, label="Tablet")
    builders.device(owner, revoked_at=builders.NOON)

    found = phone.ask("GET", "/v1/me/devices").json()["devices"]

    assert {(each["id"], each["label"], each["this"], each["listed"]) for each in found} == {
        (phone.device, "", True, True),
        (str(tablet.id), "Tablet", False, False),
    }


def test_device__of_ones_own__is_renamed_and_signed_out(phone: Handset) -> None:
    tablet = builders.device(Subscriber.objects.get(id=phone.subscriber))
    address = f"/v1/me/devices/{tablet.id}"

    renamed = phone.ask("PATCH", address, {"label": "Tablet"})
    ended = phone.ask("DELETE", address)

    assert (renamed.status_code, renamed.json()["label"]) == (200, "Tablet")
    assert ended.status_code == 204
    assert list(Device.objects.live().values_list("id", flat=True)) == [UUID(phone.device)]
    assert phone.ask("DELETE", address).status_code == 404


def test_device__that_asks__may_sign_itself_out(phone: Handset) -> None:
    assert phone.ask("DELETE", f"/v1/me/devices/{phone.device}").status_code == 204

    assert phone.ask("GET", "/v1/me").status_code == 401
    assert phone.refresh().status_code == 401


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"label": "Mine"}), ("DELETE", None)])
def test_device__of_somebody_else__is_as_unknown_as_nobodys(phone: Handset, method: str, body: Any) -> None:
    theirs = builders.device(builders.subscriber(), label="Theirs")

    answers = [phone.ask(method, f"/v1/me/devices/{id}", body) for id in (theirs.id, uuid4())]

    theirs.refresh_from_db()
    assert (theirs.label, theirs.revoked_at) == ("Theirs", None)
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].content == answers[1].content
