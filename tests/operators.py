"""Who operates in tests: a client with an API key, operators of each role, and a deployment to act on."""

from __future__ import annotations

from typing import Any

from django.test import Client

from controlplane.accounts.actions.operators import create_operator, ensure_roles
from controlplane.audit.record import Actor
from rollout.actions import areas, features
from rollout.models import Area, Feature
from tests.builders import NOON, api_key

TESTS = Actor.automatic("tests")


class Api:
    """The operators' REST as a script sees it: JSON in and out."""

    def __init__(self, *scopes: str) -> None:
        self.client = Client(raise_request_exception=False)
        self.key, self.row = api_key(*scopes)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        sent = {"X-API-Key": self.key, **headers}
        answer = self.client.generic(
            method, f"/api/{path}", b"" if body is None else _json(body), "application/json", headers=sent
        )
        answer.told = answer.json() if answer.content else None
        return answer

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.ask("POST", path, {} if body is None else body)

    def patch(self, path: str, body: Any) -> Any:
        return self.ask("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.ask("DELETE", path)


def _json(body: Any) -> bytes:
    import json

    return body if isinstance(body, bytes) else json.dumps(body).encode()


def feature(key: str = "voice-calls", *, on: bool = True, **fields: Any) -> Feature:
    """A feature that phones see, switched on unless the test says otherwise."""
    values = {"visible_to_phones": True, "access": "granted", **fields}
    made = features.create_feature(key, name="Voice calls", fields=values, actor=TESTS, now=NOON)
    return features.switch_on(key, actor=TESTS, now=NOON) if on else made


def area(key: str = "DE", **fields: Any) -> Area:
    values = {"name": "Germany", "countries": ["DE"], "capacity_calls": 20, **fields}
    return areas.create_area(key, actor=TESTS, now=NOON, **values)


def signed_in(*roles: str) -> Client:
    """The console's client of an operator with these roles."""
    ensure_roles()
    name = "-".join(roles)
    user = create_operator(name, password="a long enough password 42", roles=roles, actor=TESTS, now=NOON)
    client = Client()
    client.force_login(user)
    return client
