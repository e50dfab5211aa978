"""OpenFeature's official OFREP providers of JavaScript, for servers and browsers, unchanged, against a real edge."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from rollout.actions.grants import grant_people
from tests.journeys.signaling import rows
from tests.providers import process
from tests.providers.process import HERE, VALUES, Program, Scene, change, running_program
from tests.rollout import cast

KINDS = {"boolean": "boolean", "string": "string", "integer": "number", "float": "number", "object": "object"}
FALLBACKS: dict[str, Any] = {"boolean": None, "string": "x", "number": -1, "object": {"x": 1}}


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    process.install_node_packages()


@asynccontextmanager
async def server(scene: Scene, headers: dict[str, str]) -> AsyncIterator[Program]:
    async with running_program("server.mjs", baseUrl=scene.url, headers=list(headers.items())) as program:
        yield program


@asynccontextmanager
async def web(scene: Scene, headers: dict[str, str], **more: Any) -> AsyncIterator[Program]:
    chosen = {"context": {"targetingKey": "u1"}, "pollInterval": 0, "changeDetection": "none", **more}
    async with running_program("web.mjs", baseUrl=scene.url, headers=list(headers.items()), **chosen) as program:
        started = await program.hear()
        assert started == {"status": "READY", "failed": None}
        yield program


def test_lock__names_no_registry() -> None:
    assert "resolved" not in (HERE / "package-lock.json").read_text()
    assert json.loads((HERE / "package-lock.json").read_text())["lockfileVersion"] == 3


Asks = Callable[[str, str, Any], dict[str, Any]]
ASKS: dict[str, tuple[Callable[..., AbstractAsyncContextManager[Program]], Asks]] = {
    "server": (server, lambda kind, key, fallback: {"type": kind, "key": key, "fallback": fallback}),
    "web": (web, lambda kind, key, fallback: {"ask": kind, "key": key, "fallback": fallback}),
}


@pytest.mark.parametrize("name", ASKS)
async def test_javascript_provider__five_types__come_with_value_variant_and_reason(scene: Scene, name: str) -> None:
    start, command = ASKS[name]
    async with start(scene, scene.backend) as program:
        for kind, asked in KINDS.items():
            fallback = False if asked == "boolean" else FALLBACKS[asked]
            on = await program.ask(**command(asked, f"a.{kind}", fallback))
            off = await program.ask(**command(asked, f"b.{kind}", fallback))

            assert (on["value"], on["variant"], on["reason"]) == (VALUES[kind]["on"], "on", "STATIC")
            assert (off["value"], off["variant"], off["reason"]) == (VALUES[kind]["off"], "off", "DISABLED")
            assert "errorCode" not in on
            assert on["flagMetadata"]["cause"] == "launched"


@pytest.mark.parametrize("name", ASKS)
async def test_javascript_provider__errors__have_their_codes_and_give_the_callers_default(
    scene: Scene, name: str
) -> None:
    start, command = ASKS[name]
    async with start(scene, scene.phone("alice")) as program:
        absent = await program.ask(**command("boolean", "absent", True))
        hidden = await program.ask(**command("boolean", "hidden", False))
        wrong_type = await program.ask(**command("string", "a.boolean", "mine"))
        held = await program.ask(**command("boolean", "voice-calls", False))

    assert (absent["value"], absent["errorCode"]) == (True, "FLAG_NOT_FOUND")
    assert (hidden["value"], hidden["errorCode"]) == (False, "FLAG_NOT_FOUND")
    assert (wrong_type["value"], wrong_type["errorCode"]) == ("mine", "TYPE_MISMATCH")
    assert held["value"] is True


async def test_server_provider__context_of_each_request__decides(scene: Scene) -> None:
    async with server(scene, scene.backend) as program:
        asked = {"type": "boolean", "key": "german", "fallback": False}
        german = await program.ask(**asked, context={"targetingKey": "u1", "country": "DE"})
        other = await program.ask(**asked, context={"targetingKey": "u1", "country": "US"})
        nobody = await program.ask(**asked)
        bad = await program.ask(**asked, context={"targetingKey": "x" * 300})

    assert (german["value"], german["reason"]) == (True, "TARGETING_MATCH")
    assert (other["value"], other["reason"]) == (False, "DEFAULT")
    assert (nobody["value"], "errorCode" in nobody) == (False, False)
    assert bad["errorCode"] == "INVALID_CONTEXT"


async def test_server_provider__unknown_key__fails_and_gives_the_callers_default(scene: Scene) -> None:
    async with server(scene, {"X-API-Key": "rk_nobody"}) as program:
        told = await program.ask(type="boolean", key="a.boolean", fallback=False)

    assert (told["value"], told["reason"], told["errorCode"]) == (False, "ERROR", "GENERAL")


async def test_web_provider__unknown_key__never_becomes_ready(scene: Scene) -> None:
    settings = {"context": {}, "pollInterval": 0, "changeDetection": "none", "headers": [["X-API-Key", "rk_nobody"]]}
    async with running_program("web.mjs", baseUrl=scene.url, **settings) as program:
        started = await program.hear()

    assert started["status"] == "FATAL"
    assert "Initialization failed" in started["failed"]


async def test_web_provider__context_changes__decides_anew(scene: Scene) -> None:
    asked = {"ask": "boolean", "key": "german", "fallback": False}
    async with web(scene, scene.backend, context={"targetingKey": "u1", "country": "DE"}) as program:
        german = await program.ask(**asked)
        await program.ask(context={"targetingKey": "u1", "country": "US"})
        other = await program.ask(**asked)

    assert (german["value"], other["value"]) == (True, False)


@pytest.mark.parametrize("way", [{"changeDetection": "sse"}, {"changeDetection": "polling", "pollInterval": 200}])
async def test_web_provider__feature_changes__is_seen_while_it_runs(scene: Scene, way: dict[str, Any]) -> None:
    asked = {"ask": "string", "key": "a.string", "fallback": "x"}
    async with web(scene, scene.phone("bob"), **way) as program:
        before = await program.ask(**asked)
        await program.say(**{"await": True})
        await rows(lambda: change("a.string", switch="killed"))
        changed = await program.hear(5)
        after = await program.ask(**asked)

    assert (before["value"], after["value"], after["reason"]) == ("blue", "grey", "DISABLED")
    assert changed["flagsChanged"] == ["a.string"]


async def test_web_provider__grant__is_seen_by_its_holder_at_once(scene: Scene) -> None:
    asked = {"ask": "boolean", "key": "voice-calls", "fallback": False}
    async with web(scene, scene.phone("bob"), changeDetection="sse") as program:
        before = await program.ask(**asked)
        await program.say(**{"await": True})
        await rows(lambda: grant_to(scene.bob_id))
        changed = await program.hear(5)
        after = await program.ask(**asked)

    assert (before["value"], after["value"]) == (False, True)
    assert changed["flagsChanged"] == ["voice-calls"]
    assert after["flagMetadata"]["cause"] == "granted_by_operator"


def grant_to(subscriber: str) -> None:
    grant_people(cast.CALLS, subscribers=[UUID(subscriber)], actor=cast.OPERATOR, now=timezone.now())
