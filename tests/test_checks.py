"""Mistakes of a deployment: each is found alone, and says what to do."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from controlplane import checks
from controlplane.base import env

SOUND: dict[str, Any] = {
    "demonstration": False,
    "debug": False,
    "host": "0.0.0.0",
    "public_url": "https://calls.example",
    "allowed_hosts": ("console.example",),
    "database_url": "postgresql://db.example/rollcall",
    "redis_url": "redis://redis.example",
    "turn_urls": ("turn:relay.example",),
    "turn_secret": "shared",
    "trusted_proxies": (ip_network("10.0.3.0/24"),),
    "code_sender": "tests.builders.KeptCodes",
    "secret": bytes(range(100, 132)),
}


def deployment(tmp_path: Path, **changes: Any) -> env.Env:
    base = env.load({"ROLLCALL_DATA": str(tmp_path / "data"), "ROLLCALL_SECRET": "07" * 32})
    return dataclasses.replace(base, **{**SOUND, **changes})


def found(settings: env.Env) -> list[str | None]:
    return [message.id for message in (*checks.mistakes(settings), *checks.deployment_mistakes(settings))]


def test_checks__sound_deployment__nothing_found(tmp_path: Path) -> None:
    assert found(deployment(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({"demonstration": True}, ["rollcall.E011"]),
        ({"debug": True}, ["rollcall.E002"]),
        ({"allowed_hosts": ("*",)}, ["rollcall.E003"]),
        ({"turn_secret": ""}, ["rollcall.E004"]),
        ({"turn_urls": ()}, ["rollcall.E004", "rollcall.W014"]),
        ({"turn_urls": (), "turn_secret": ""}, ["rollcall.W014"]),
        ({"public_url": "http://calls.example"}, ["rollcall.W013"]),
        ({"database_url": None}, ["rollcall.W015"]),
        ({"trusted_proxies": ()}, ["rollcall.W016"]),
        ({"trusted_proxies": (ip_network("0.0.0.0/0"),)}, ["rollcall.E017"]),
        ({"secret": bytes(32)}, ["rollcall.E018"]),
        ({"secret": b"calling!" * 4}, ["rollcall.E018"]),
        ({"token_seconds": 5}, ["rollcall.E019"]),
        ({"token_seconds": 10**6}, ["rollcall.E019"]),
        ({"code_sender": env.LOG_SENDER}, ["rollcall.E020"]),
        ({"code_sender": "nowhere.Sender"}, ["rollcall.E020"]),
    ],
)
def test_checks__one_mistake__found_with_a_hint(tmp_path: Path, changes: dict[str, Any], ids: list[str]) -> None:
    settings = deployment(tmp_path, **changes)

    assert found(settings) == ids
    assert all(message.hint for message in (*checks.mistakes(settings), *checks.deployment_mistakes(settings)))


def test_checks__secret_not_given_to_a_deployment__found(tmp_path: Path) -> None:
    settings = deployment(tmp_path, secret_given=False)

    assert found(settings) == ["rollcall.E012"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("a.localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback__table__only_this_machine(host: str, expected: bool) -> None:
    assert checks.is_loopback(host) is expected
