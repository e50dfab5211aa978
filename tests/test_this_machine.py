"""A demonstration answers its own machine only, over the web's port."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.conf import settings as configured
from django.test import Client

MARKED = {"X-Forwarded-For": "127.0.0.1", "X-Rollcall-Edge": configured.KEYS.edge_mark("127.0.0.1")}


def ask(peer: str, headers: dict[str, str]) -> int:
    return Client().get("/healthz", REMOTE_ADDR=peer, headers=headers).status_code


@pytest.mark.parametrize(
    ("peer", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {"Host": "localhost:8081"}, 200),
        ("127.0.0.1", MARKED, 200),
        ("10.0.0.7", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, 403),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.7"}, 403),
        ("127.0.0.1", {**MARKED, "X-Forwarded-For": "203.0.113.7"}, 403),
        ("127.0.0.1", {"Host": "rebound.example"}, 400),
    ],
)
def test_demonstration__request__answered_to_this_machine_only(
    peer: str, headers: dict[str, str], status: int, settings: Any
) -> None:
    assert ask(peer, headers) == status

    settings.ENV = dataclasses.replace(settings.ENV, demonstration=False)
    assert ask(peer, headers) in {200, 400}
