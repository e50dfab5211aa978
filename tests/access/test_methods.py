"""A method that an address doesn't declare is refused with those that it does, whoever asks and however."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from django.test import Client

from tests import builders
from tests.access import test_edge, test_web
from tests.journeys.signaling import Stage, build_stage, running_edge, token_of
from tests.operators import Api

READ_AS_A_CALL = ("GET", "/v1/calls/prepare")  # where `prepare` would be the call's id
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")


def undeclared(addresses: list[tuple[str, str]]) -> dict[str, tuple[set[str], list[str]]]:
    """Of each address that says which methods it takes: those, and the others."""
    declared: dict[str, set[str]] = {}
    for method, address in addresses:
        declared.setdefault(address, set()).add(method)
    return {
        address: (methods - {"ANY"}, [method for method in METHODS if method not in methods])
        for address, methods in declared.items()
        if methods != {"ANY"}
    }


def allowed(header: str | None) -> set[str]:
    return {method.strip() for method in (header or "").split(",")} - {"", "OPTIONS", "HEAD"}


@pytest.mark.django_db
def test_undeclared_method__on_the_web__is_refused_with_the_declared_ones() -> None:
    key, _ = builders.api_key()
    token = token_of(builders.device(builders.subscriber()))
    once = {"Idempotency-Key": "once"}
    operator = Client(headers={"X-API-Key": key, **once}, raise_request_exception=False)
    phone = Client(headers={"Authorization": f"Bearer {token}", **once}, raise_request_exception=False)
    addresses = [each for each in test_web.addresses() if each[1].startswith(("api/", "v1/"))]
    wrong = []
    for address, (methods, others) in undeclared(addresses).items():
        path = test_web.filled(address, {"rollout/feature": "0"})
        for method in others:
            client = operator if address.startswith("api/") else phone
            answer: Any = client.generic(method, path, b"{}", "application/json")
            if answer.status_code != 405 or allowed(answer.get("Allow")) != methods:
                wrong.append(f"{method} {address}: {answer.status_code}, Allow: {answer.get('Allow')}")

    assert "\n".join(wrong) == ""


@pytest.mark.django_db
def test_undeclared_method__with_the_idempotency_key_of_a_good_request__is_refused_as_such() -> None:
    api = Api()
    once = {"Idempotency-Key": "once"}
    made = api.ask("POST", "keys", {"name": "another", "scopes": ["read"]}, **once)

    traced = api.ask("TRACE", "keys", None, **once)

    assert (made.status_code, traced.status_code) == (201, 405)


@pytest.fixture
def stage(stack_environment: dict[str, str], redis_url: str, tmp_path: Path) -> Stage:
    return build_stage(stack_environment, tmp_path)


async def test_undeclared_method__on_the_edge__is_refused_with_the_declared_ones(stage: Stage) -> None:
    wrong = []
    async with running_edge(stage) as edge, ClientSession(f"http://127.0.0.1:{edge.env.port}") as session:
        for address, (methods, others) in undeclared(list(test_edge.addresses(edge))).items():
            path = test_edge.filled(address)
            for method in others:
                if (method, address) == READ_AS_A_CALL:
                    continue
                answer = await session.request(method, path, headers={"Authorization": stage.tokens["alice"]}, json={})
                if answer.status != 405 or not methods <= allowed(answer.headers.get("Allow")) | {"OPTIONS"}:
                    wrong.append(f"{method} {address}: {answer.status}, Allow: {answer.headers.get('Allow')}")

    assert "\n".join(wrong) == ""
