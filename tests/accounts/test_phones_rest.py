"""The phones' REST on the web, over HTTP as a phone sees it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import jwt
import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from controlplane.accounts.models import Block, OneTimeCode, Subscriber
from rollout.models import Area, Feature, Grant
from tests import builders

pytestmark = pytest.mark.django_db

ALICE = "+493090182000"
PROBLEM = "application/problem+json"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def post(path: str, body: Any, **headers: str) -> Any:
    return Client().post(path, json.dumps(body), content_type="application/json", headers=headers)


def verify_body(sent: dict[str, Any], **changes: Any) -> dict[str, Any]:
    keys = {
        "ed25519": b64(bytes(SigningKey.generate().verify_key)),
        "x25519": b64(bytes(PrivateKey.generate().public_key)),
    }
    device = {"id": str(uuid4()), "platform": "android", "app_version": "2.11.500", "label": "Phone"}
    body = {
        "challenge": sent["challenge"],
        "code": sent["demonstration_code"],
        "device": device,
        "keys": keys,
    }
    return {**body, **changes}


def register(phone: str = ALICE) -> tuple[dict[str, Any], dict[str, Any]]:
    """What verify answered, and what was sent to it."""
    body = verify_body(post("/v1/registration", {"phone": phone}).json(), carrier="262-03")
    answer = post("/v1/registration/verify", body)
    assert answer.status_code == 200, answer.content
    return answer.json(), body


def as_phone(session: dict[str, Any]) -> Client:
    return Client(headers={"Authorization": f"Bearer {session['access_token']}"})


def test_registration__in_a_demonstration__shows_the_code() -> None:
    answer = post("/v1/registration", {"phone": "+49 30 901820-00"})

    assert answer.status_code == 202
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"challenge", "phone", "expires_in", "resend_after", "demonstration_code"}
    assert body["phone"] == "+493090182000"
    assert len(body["demonstration_code"]) == 6


def test_registration__for_real_people__never_shows_the_code(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, demonstration=False)

    answer = post("/v1/registration", {"phone": ALICE})

    assert set(answer.json()) == {"challenge", "phone", "expires_in", "resend_after"}


def test_registration__asked_too_often__says_when_to_try_again(settings: Any) -> None:
    settings.ENV = replace(settings.ENV, demonstration=False)
    post("/v1/registration", {"phone": ALICE})

    answer = post("/v1/registration", {"phone": ALICE})

    assert (answer.status_code, answer["Content-Type"]) == (429, PROBLEM)
    assert 1 <= int(answer["Retry-After"]) <= 30
    assert answer.json()["retry_after"] == int(answer["Retry-After"])


def test_verify__with_the_code__gives_tokens_that_carry_grants_and_area() -> None:
    Area.objects.create(key="de", name="Germany", countries=["DE"], capacity_calls=20)
    feature = Feature.objects.create(key="voice-calls", name="Voice calls", salt="s", visible_to_phones=True)
    alice = builders.subscriber(phone=ALICE)
    grant = Grant.objects.create(feature=feature, subscriber=alice, source="operator")
    other = Feature.objects.create(key="video-calls", name="Video calls", salt="t", visible_to_phones=True)
    frozen = Grant.objects.create(feature=other, subscriber=alice, source="operator", state="frozen")
    gone = Feature.objects.create(key="old", name="Old", salt="u")
    Grant.objects.create(feature=gone, subscriber=alice, source="operator", state="revoked")

    session, sent = register()

    assert set(session) == {"subscriber", "device", "access_token", "expires_in", "refresh_token"}
    assert (session["subscriber"], session["device"]) == (str(alice.id), sent["device"]["id"])
    claims = jwt.decode(session["access_token"], options={"verify_signature": False})
    assert claims["tr"]["area"] == "de"
    assert claims["tr"]["carrier"] == "262-03"
    assert claims["fr"] == ["video-calls"]
    assert set(claims["g"]) == {"voice-calls", "video-calls"}
    grant.refresh_from_db()
    at = int(grant.granted_at.timestamp())
    assert claims["g"]["voice-calls"] == {"id": grant.id, "src": "operator", "depth": 0, "at": at, "root": grant.id}
    assert claims["g"]["video-calls"]["root"] == frozen.id


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("challenge", {"challenge": "me"}),
        ("code", {"code": "12345"}),
        ("code", {"code": "１２３４５６"}),
        ("code", {"code": 123456}),
        ("challenge", {"challenge": 7}),
        ("carrier", {"carrier": "vodafone"}),
        ("keys", {"keys": None}),
        ("keys.ed25519", {"keys": {"ed25519": "AA", "x25519": b64(bytes(32))}}),
        ("keys.x25519", {"keys": {"ed25519": b64(bytes(32)), "x25519": b64(bytes(33))}}),
        ("device", {"device": "phone"}),
        ("device.platform", {"device": {"id": str(uuid4()), "platform": "nokia", "app_version": "1"}}),
        ("device.app_version", {"device": {"id": str(uuid4()), "platform": "web"}}),
        ("device.label", {"device": {"id": str(uuid4()), "platform": "web", "app_version": "1", "label": "a\u0000b"}}),
        ("device.label", {"device": {"id": str(uuid4()), "platform": "web", "app_version": "1", "label": "\ud800"}}),
    ],
)
def test_verify__with_a_fault__names_its_place_and_costs_no_try(path: str, change: dict[str, Any]) -> None:
    challenge = post("/v1/registration", {"phone": ALICE}).json()

    answer = post("/v1/registration/verify", verify_body(challenge, **change))

    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)
    assert answer.json()["code"] == "bad_input"
    assert path in [error["path"] for error in answer.json()["errors"]]
    assert OneTimeCode.objects.get().tries == 0
    assert not Subscriber.objects.exists()


def test_verify__with_a_wrong_code__is_refused_like_an_unknown_challenge() -> None:
    challenge = post("/v1/registration", {"phone": ALICE}).json()
    wrong_code = f"{(int(challenge['demonstration_code']) + 1) % 10**6:06d}"

    wrong = post("/v1/registration/verify", verify_body(challenge, code=wrong_code))
    unknown = post("/v1/registration/verify", verify_body(challenge, challenge=str(uuid4())))

    assert (wrong.status_code, wrong["Content-Type"]) == (403, PROBLEM)
    assert wrong.content == unknown.content


def test_tokens__are_refreshed_and_revoked() -> None:
    session, _ = register()

    second = post("/v1/tokens/refresh", {"refresh_token": session["refresh_token"]})
    again = post("/v1/tokens/refresh", {"refresh_token": session["refresh_token"]})

    assert second.status_code == 200
    assert set(second.json()) == set(session)
    assert again.json()["refresh_token"] == second.json()["refresh_token"]
    assert post("/v1/tokens/revoke", {"refresh_token": session["refresh_token"]}).status_code == 204
    over = post("/v1/tokens/refresh", {"refresh_token": second.json()["refresh_token"]})
    assert (over.status_code, over.json()["code"]) == (401, "refresh_refused")
    assert over["WWW-Authenticate"] == "Bearer"


def test_me__tells_and_changes_what_is_ones_own() -> None:
    session, _ = register()
    phone = as_phone(session)

    before = phone.get("/v1/me").json()
    answer = phone.patch("/v1/me", json.dumps({"accepts_invites": False}), content_type="application/json")

    assert before["phone"] == ALICE
    assert (before["country"], before["accepts_invites"], before["device"]["id"]) == ("DE", True, session["device"])
    assert answer.json() == {**before, "accepts_invites": False}


def test_me__with_a_member_of_others__changes_nothing_of_it() -> None:
    session, _ = register()
    body = {"accepts_invites": True, "kind": "business", "subscriber": str(uuid4()), "traits": {"staff": True}}

    as_phone(session).patch("/v1/me", json.dumps(body), content_type="application/json")

    row = Subscriber.objects.get()
    assert (row.kind, row.traits) == ("person", {})


def test_blocks__are_set_and_lifted__and_tell_nothing_of_strangers() -> None:
    session, _ = register()
    bob, phone = builders.subscriber(phone="+493090181999"), as_phone(session)

    answers = [phone.put(f"/v1/me/blocks/{someone}") for someone in (bob.id, uuid4())]

    assert {(answer.status_code, answer.content) for answer in answers} == {(204, b"")}
    assert phone.get("/v1/me").json()["blocks"] == [str(bob.id)]
    assert phone.put(f"/v1/me/blocks/{session['subscriber']}").status_code == 400
    assert phone.delete(f"/v1/me/blocks/{bob.id}").status_code == 204
    assert not Block.objects.exists()


def test_device_list__is_put_read_and_chained() -> None:
    session, sent = register()
    phone, key = as_phone(session), SigningKey.generate()
    body = json.dumps(
        {
            "v": 1,
            "subscriber": session["subscriber"],
            "account_key": b64(bytes(key.verify_key)),
            "epoch": 1,
            "previous": "",
            "devices": [{"id": session["device"], **sent["keys"]}],
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
    upload = {"list": b64(body), "signature": b64(key.sign(b"rollcall device list v1\0" + body).signature)}
    assert phone.get("/v1/device-list").status_code == 404
    assert phone.get("/v1/me").json()["device_list"] is None

    first = phone.put("/v1/device-list", json.dumps(upload), content_type="application/json")
    again = phone.put("/v1/device-list", json.dumps(upload), content_type="application/json")
    forged = phone.put(
        "/v1/device-list", json.dumps({**upload, "signature": b64(bytes(64))}), content_type="application/json"
    )

    assert first.json() == again.json() == {"epoch": 1}
    assert phone.get("/v1/device-list").json() == {"epoch": 1, **upload}
    assert phone.get("/v1/me").json()["device_list"] == {"epoch": 1, **upload}
    assert (forged.status_code, forged.json()["code"]) == (400, "device_list_refused")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/v1/me"),
        ("patch", "/v1/me"),
        ("get", "/v1/device-list"),
        ("put", "/v1/device-list"),
        ("put", f"/v1/me/blocks/{UUID(int=7)}"),
        ("delete", f"/v1/me/blocks/{UUID(int=7)}"),
    ],
)
def test_signed_in_addresses__without_a_phones_token__are_closed(method: str, path: str) -> None:
    key, _ = builders.api_key()

    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        answer = getattr(Client(headers=headers), method)(path)

        assert (answer.status_code, answer["Content-Type"], answer["WWW-Authenticate"]) == (401, PROBLEM, "Bearer")


def test_database__when_away__is_said_with_a_time_to_try_again() -> None:
    away = mock.patch("controlplane.accounts.actions.registration.begin", side_effect=OperationalError)

    with away:
        answer = post("/v1/registration", {"phone": ALICE})

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (503, "try_again", "2")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "bad_input"),
        (b"\xff", "application/json", 400, "bad_input"),
        (b"[]", "application/json", 400, "bad_input"),
        (b"null", "application/json", 400, "bad_input"),
        (b'{"phone": NaN}', "application/json", 400, "bad_input"),
        (b'{"phone": {}}', "application/json", 400, "bad_input"),
        (b'{"phone": "\\ud800"}', "application/json", 400, "bad_input"),
        (b"[" * 100_000, "application/json", 400, "bad_input"),
        (b'{"phone": "' + b"1" * 3_000_000 + b'"}', "application/json", 413, "too_large"),
        (b"phone=1", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_body__that_cannot_be_read__is_a_problem(content: bytes, content_type: str, status: int, code: str) -> None:
    answer = Client().post("/v1/registration", content, content_type=content_type)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (status, PROBLEM, code)
    assert answer.json()["detail"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("get", "/v1/registration", 405, "method_not_allowed"), ("get", "/v1/nothing", 404, "not_found")],
)
def test_address__that_is_wrong__is_a_problem(method: str, path: str, status: int, code: str) -> None:
    answer = getattr(Client(), method)(path)

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (status, PROBLEM, code)


def test_fault_of_ours__is_a_problem_without_its_words() -> None:
    broken = mock.patch("controlplane.accounts.actions.registration.begin", side_effect=ZeroDivisionError("secret"))

    with broken:
        answer = Client(raise_request_exception=False).post(
            "/v1/registration", json.dumps({"phone": ALICE}), content_type="application/json"
        )

    assert (answer.status_code, answer["Content-Type"], answer.json()["code"]) == (500, PROBLEM, "internal_error")
    assert b"secret" not in answer.content


@pytest.mark.parametrize(
    ("peer", "forwarded", "mark", "address"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.7", "203.0.113.7", "203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "203.0.113.7", "", "127.0.0.1"),
        ("10.0.0.7", "203.0.113.7", "203.0.113.8", "10.0.0.7"),
        ("10.0.0.7", "203.0.113.7", "é", "10.0.0.7"),
        ("10.0.3.1", "198.51.100.1, 203.0.113.7", "", "203.0.113.7"),
        ("10.0.3.1", "203.0.113.7, 10.0.3.2", "", "203.0.113.7"),
        ("8.8.8.8", "203.0.113.7", "", "8.8.8.8"),
        ("127.0.0.1", "", "", "127.0.0.1"),
    ],
)
def test_client_address__is_believed__from_the_edge_and_trusted_proxies_only(
    peer: str, forwarded: str, mark: str, address: str
) -> None:
    extra = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {}
    if mark:
        extra["HTTP_X_ROLLCALL_EDGE"] = settings.KEYS.edge_mark(mark)
    env = replace(settings.ENV, demonstration=False, trusted_proxies=(ip_network("10.0.3.0/24"),))

    with (
        mock.patch.object(settings, "ENV", env),
        mock.patch("controlplane.accounts.actions.registration.begin", side_effect=OperationalError) as begin,
    ):
        Client().post("/v1/registration", '{"phone": "1"}', content_type="application/json", REMOTE_ADDR=peer, **extra)

    assert begin.call_args.kwargs["address"] == address
