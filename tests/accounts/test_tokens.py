"""Access tokens and refresh tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.utils import timezone
from nacl.signing import SigningKey

from controlplane.accounts.access_token import Bearer, live_device, read_token
from controlplane.accounts.actions import tokens
from controlplane.accounts.actions.devices import revoke_device
from controlplane.accounts.errors import RefreshRefused, TokenRefused
from controlplane.accounts.models import Device, RefreshToken
from controlplane.api.claims import rollout_claims
from controlplane.outbox.models import Outbox
from tests import builders
from tests.builders import NOON
from tests.rollout import cast

pytestmark = pytest.mark.django_db

GRANT = {"voice-calls": {"id": 7, "src": "invite", "depth": 1, "at": 1, "root": 3}}


def nothing(device: Device) -> Mapping[str, Any]:
    return {}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(payload: Mapping[str, Any], key: SigningKey, **header: str) -> str:
    head = {"alg": "EdDSA", "typ": "JWT", **header}
    text = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(payload).encode())}"
    return f"{text}.{b64(key.sign(text.encode()).signature)}"


def test_access_token__holds_what_an_edge_decides_by(settings: Any) -> None:
    owner = builders.subscriber(carrier="262-03", language="de", traits={"staff": True, "platform": "forged"})
    device = builders.device(owner)
    cast.area(key="de", countries=["DE"])

    token = tokens.mint(device, claims={**rollout_claims(device), "g": GRANT, "fr": ["voice-calls"]}, now=NOON)

    payload = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "JWT", "kid": settings.KEYS.token_key_id}
    assert payload.pop("jti")
    assert payload == {
        "iss": "rollcall",
        "aud": "rollcall.phones",
        "sub": str(owner.id),
        "did": str(device.id),
        "iat": int(NOON.timestamp()),
        "exp": int(NOON.timestamp()) + settings.ENV.token_seconds,
        "g": GRANT,
        "fr": ["voice-calls"],
        "tr": {
            "country": "DE",
            "carrier": "262-03",
            "platform": "android",
            "app_version": "2.11.500",
            "os_version": "4.4.2",
            "device_class": "mid",
            "network_class": "",
            "language": "de",
            "joined_at": "2026-03-14T12:00:00Z",
            "kind": "person",
            "area": "de",
            "staff": True,
        },
    }


def test_access_token__is_minted_in_a_millisecond() -> None:
    device = builders.device(builders.subscriber())
    tokens.mint(device, claims={"g": GRANT}, now=NOON)

    times = []
    for _ in range(50):
        before = time.perf_counter()
        tokens.mint(device, claims={"g": GRANT}, now=NOON)
        times.append(time.perf_counter() - before)

    assert sorted(times)[25] < 0.002


def test_access_token__when_valid__names_its_bearer() -> None:
    device = builders.device(builders.subscriber())

    bearer = read_token(tokens.mint(device, claims={}, now=timezone.now()))

    assert bearer == Bearer(subscriber=device.subscriber_id, device=device.id)
    assert live_device(bearer) == device


def test_access_token__that_is_forged__is_refused(settings: Any) -> None:
    device = builders.device(builders.subscriber())
    good = tokens.mint(device, claims={}, now=timezone.now())
    payload = jwt.decode(good, options={"verify_signature": False})
    ours, kid = settings.KEYS.token, settings.KEYS.token_key_id
    assert read_token(sign(payload, ours, kid=kid))
    head, body, signature = good.split(".")
    unsigned = b64(json.dumps({"alg": "none", "kid": kid}).encode())
    public = bytes(settings.KEYS.token_public)

    forged = {
        "another key": sign(payload, SigningKey.generate(), kid=kid),
        "another key id": sign(payload, ours, kid="00000000"),
        "no key id": sign(payload, ours),
        "another algorithm": sign(payload, ours, kid=kid, alg="HS256"),
        "no algorithm": f"{unsigned}.{body}.",
        "public key as a secret": jwt.encode(payload, public, algorithm="HS256", headers={"kid": kid}),
        "another issuer": sign({**payload, "iss": "mallory"}, ours, kid=kid),
        "another audience": sign({**payload, "aud": "elsewhere"}, ours, kid=kid),
        "no audience": sign({k: v for k, v in payload.items() if k != "aud"}, ours, kid=kid),
        "no subscriber": sign({k: v for k, v in payload.items() if k != "sub"}, ours, kid=kid),
        "no device": sign({k: v for k, v in payload.items() if k != "did"}, ours, kid=kid),
        "odd device": sign({**payload, "did": 7}, ours, kid=kid),
        "expired": tokens.mint(device, claims={}, now=timezone.now() - timedelta(days=1)),
        "no expiry": sign({k: v for k, v in payload.items() if k != "exp"}, ours, kid=kid),
        "changed": f"{head}.{body[:-4]}AAAA.{signature}",
        "empty": "",
        "words": "not.a.token",
        "huge": "a" * 100_000,
    }
    for why, token in forged.items():
        with pytest.raises(TokenRefused):
            pytest.fail(f"{why}: {read_token(token)}")


def test_access_token__of_a_revoked_device__is_refused_at_once() -> None:
    device = builders.device(builders.subscriber())
    bearer = read_token(tokens.mint(device, claims={}, now=timezone.now()))

    revoke_device(device.id, now=NOON)

    with pytest.raises(TokenRefused):
        live_device(bearer)


def session(device: Device | None = None) -> tokens.Session:
    return tokens.start_session(device or builders.device(builders.subscriber()), claims=nothing, now=NOON)


def refresh(token: str, after: float) -> tokens.Session:
    return tokens.refresh(token, claims=nothing, now=NOON + timedelta(seconds=after))


def refused(token: str, after: float) -> bool:
    try:
        refresh(token, after)
    except RefreshRefused:
        return True
    return False


def test_refresh_token__stands_as_a_digest_only() -> None:
    first = session()

    assert first.refresh_token not in str(vars(RefreshToken.objects.get()))
    assert first.refresh_token not in repr(first)


def test_refresh__rotates__and_carries_new_claims() -> None:
    first = session()

    later = NOON + timedelta(seconds=100)
    second = tokens.refresh(first.refresh_token, claims=lambda device: {"g": GRANT}, now=later)

    assert second.refresh_token != first.refresh_token
    assert (second.subscriber, second.device) == (first.subscriber, first.device)
    assert jwt.decode(second.access_token, options={"verify_signature": False})["g"] == GRANT
    assert Device.objects.get().seen_at == later


def test_refresh__retried_within_thirty_seconds__gets_the_same_again() -> None:
    first = session()

    second, again = refresh(first.refresh_token, 100), refresh(first.refresh_token, 130)

    assert again.refresh_token == second.refresh_token
    assert RefreshToken.objects.count() == 2
    assert refresh(second.refresh_token, 131)


def test_refresh__with_a_spent_token__ends_the_device() -> None:
    first = session()
    second = refresh(first.refresh_token, 100)

    assert refused(first.refresh_token, 131)

    assert refused(second.refresh_token, 132)
    assert not RefreshToken.objects.exists()
    assert Device.objects.get().revoked_at == NOON + timedelta(seconds=131)
    assert Outbox.objects.filter(kind="device.revoked").count() == 1


def test_refresh__with_a_token_before_the_last__ends_the_device_even_at_once() -> None:
    first = session()
    third = refresh(refresh(first.refresh_token, 100).refresh_token, 101)

    assert refused(first.refresh_token, 102)

    assert refused(third.refresh_token, 103)


def test_refresh__with_a_spent_token_of_one_device__ends_no_other() -> None:
    owner = builders.subscriber()
    first, other = session(builders.device(owner)), session(builders.device(owner))
    refresh(first.refresh_token, 100)
    assert refused(first.refresh_token, 200)

    assert refresh(other.refresh_token, 201)


def test_refresh__when_unknown_expired_or_revoked__is_refused_alike() -> None:
    expired, revoked, of_revoked_device = session(), session(), session()
    tokens.revoke(revoked.refresh_token, now=NOON)
    revoke_device(of_revoked_device.device, now=NOON)
    said = set()

    for token, days in (
        ("rt_unknown", 0),
        ("", 0),
        (expired.refresh_token, 60),
        (revoked.refresh_token, 0),
        (of_revoked_device.refresh_token, 0),
    ):
        with pytest.raises(RefreshRefused) as refusal:
            refresh(token, days * 86_400)
        said.add(str(refusal.value.as_problem()))

    assert len(said) == 1


@pytest.mark.parametrize("which", ["the last token", "an earlier one"])
def test_signing_out__ends_the_device__and_knows_nothing_of_strangers(which: str) -> None:
    first = session()
    second = refresh(first.refresh_token, 1)

    tokens.revoke(second.refresh_token if which == "the last token" else first.refresh_token, now=NOON)
    tokens.revoke("rt_unknown", now=NOON)

    assert refused(second.refresh_token, 2)
    assert Device.objects.get().revoked_at == NOON
    with pytest.raises(TokenRefused):
        live_device(Bearer(subscriber=first.subscriber, device=first.device))
    assert Outbox.objects.get(kind="device.revoked").payload["device"] == str(first.device)


def test_device__when_revoked__tells_the_edges_once() -> None:
    device = builders.device(builders.subscriber())

    assert revoke_device(device.id, now=NOON)
    assert not revoke_device(device.id, now=NOON)

    row = Outbox.objects.get(kind="device.revoked")
    assert row.payload == {"subscriber": str(device.subscriber_id), "device": str(device.id)}
