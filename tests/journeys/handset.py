"""A phone by its keys: it registers over the web's REST and signs the lists that the edge and other phones see."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from django.test import Client
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from calls.rules import devices as rule
from calls.rules.blob import b64, unb64


def post(path: str, body: Any) -> Any:
    return Client().post(path, json.dumps(body), content_type="application/json")


@dataclass
class Handset:
    """`session` is what the last registration or refresh gave; `listed` the list that it published last."""

    number: str
    account: SigningKey = field(default_factory=SigningKey.generate)
    signing: SigningKey = field(default_factory=SigningKey.generate)
    exchange: PrivateKey = field(default_factory=PrivateKey.generate)
    session: dict[str, str] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return self.session["device"]

    @property
    def subscriber(self) -> str:
        return self.session["subscriber"]

    @property
    def token(self) -> str:
        return self.session["access_token"]

    def register(self, **more: Any) -> Handset:
        """Registered anew with the code that was sent to the number; no list is published yet."""
        sent = post("/v1/registration", {"phone": self.number}).json()
        device = str(uuid4())
        proof = rule.sign_registration(sent["challenge"], self.device_keys(device), bytes(self.account))
        body = {
            "challenge": sent["challenge"],
            "code": sent["demonstration_code"],
            "device": {"id": device, "platform": "android", "app_version": "2.11.500"},
            "keys": self.keys,
            "account_signature": b64(proof),
            **more,
        }
        answer = post("/v1/registration/verify", body)
        assert answer.status_code == 200, answer.content
        self.session = answer.json()
        return self

    def publish(self) -> Any:
        """The answer to a list that holds this device alone, and follows the one that stands."""
        last = self.ask("GET", "/v1/device-list")
        previous = unb64(last.json()["list"]) if last.status_code == 200 else None
        answer = self.ask("PUT", "/v1/device-list", signed := self.sign(previous))
        if answer.status_code == 200:
            self.listed = signed
        return answer

    def sign(self, last: bytes | None) -> dict[str, str]:
        own = self.device_keys(self.device)
        epoch, previous = (rule.parse(last).epoch + 1, rule.digest(last)) if last else (1, b"")
        listed = rule.DeviceList(self.subscriber, bytes(self.account.verify_key), epoch, previous, (own,))
        body = listed.as_bytes()
        return {"list": b64(body), "signature": b64(rule.sign(body, bytes(self.account)))}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The web's answer to this phone's access token."""
        return Client(headers={"Authorization": f"Bearer {self.token}"}).generic(
            method, path, b"" if body is None else json.dumps(body), content_type="application/json"
        )

    def refresh(self) -> Any:
        return post("/v1/tokens/refresh", {"refresh_token": self.session["refresh_token"]})

    def device_keys(self, device: str) -> rule.DeviceKeys:
        return rule.DeviceKeys(device, bytes(self.signing.verify_key), bytes(self.exchange.public_key))

    @property
    def keys(self) -> dict[str, str]:
        return {"ed25519": b64(bytes(self.signing.verify_key)), "x25519": b64(bytes(self.exchange.public_key))}


def forged(listed: dict[str, str]) -> dict[str, str]:
    """The same list with a signature of zeros."""
    return {**listed, "signature": b64(bytes(64))}
