"""Every kind of answer against the schemas of OFREP 0.3.0's own files, in tests/vectors/ofrep.

Two of the files' schemas can't be taken word for word: see docs/decisions/0013-where-ofreps-schemas-are-read-kindly.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from rollout.rules.limits import PHONE_DECISIONS_PER_SECOND
from rollout.serving import ofrep
from rollout.serving.clients import Clients
from rollout.serving.feed import FeedRow
from tests import published
from tests.journeys.fake_server import BACK, BOB, BULK, NOW, READER, FakeServer, document, feature, phone

VECTORS = Path(__file__).parent.parent / "vectors" / "ofrep"
FIVE = {
    "boolean": {"on": True, "off": False},
    "string": {"on": "blue", "off": ""},
    "integer": {"on": 7, "off": 0},
    "float": {"on": 2.0, "off": 0.5},
    "object": {"on": {"a": [1, {"b": None}]}, "off": {}},
}
RULE = {"any_of": [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]}
ALL = [
    *(feature(kind, kind=kind, access="everyone", variants=variants) for kind, variants in FIVE.items()),
    *(feature(f"{kind}.off", kind=kind, switch="off", variants=variants) for kind, variants in FIVE.items()),
    feature("killed", switch="killed"),
    feature("rule", access="rules", rules=[RULE]),
    feature("share", access="rules", rules=[{"share_ppm": 999_999}]),
    feature("needs", access="everyone", prerequisites=["killed"]),
    feature("old", access="everyone", requirements={"platforms": {"android": {"app": "99.0.0"}}}),
    feature("wave", waves=[{"name": "w", "position": 1, "state": "open", "share_ppm": 1_000_000, "any_of": []}]),
    feature("window", windows_open=True),
]


def _kindly(schema: Any) -> Any:
    """The schema with its two faults mended: alternatives that overlap, and the reason that the list leaves out."""
    if isinstance(schema, list):
        return [_kindly(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    mended = {name: _kindly(each) for name, each in schema.items()}
    alternatives = [each.get("$ref", "") for each in mended.get("oneOf", []) if isinstance(each, dict)]
    if "#/components/schemas/codeDefaultFlag" in alternatives:
        mended["anyOf"] = mended.pop("oneOf")
    if mended.get("enum") == ["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]:
        mended["enum"] = [*mended["enum"], "DEFAULT"]
    return mended


@cache
def spec() -> dict[str, Any]:
    return _kindly(yaml.safe_load((VECTORS / "openapi.yaml").read_text()))


def check(name: str, instance: Any) -> None:
    """Raises jsonschema's ValidationError unless the instance is what `#/components/schemas/{name}` says."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": spec()["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(instance)


async def check_answer(response: ClientResponse, path: str) -> Any:
    """The body of an answer to a POST, after a look at its status, content type, headers and schema."""
    said = spec()["paths"][path]["post"]["responses"].get(str(response.status))
    assert said is not None, f"OFREP knows no answer {response.status}"
    for header in said.get("headers", {}):
        assert header in response.headers
    content = said.get("content")
    if content is None:
        return None
    assert [response.content_type] == list(content)
    body = await response.json()
    check(content["application/json"]["schema"]["$ref"].rpartition("/")[2], body)
    published.check("POST", path, response.status, body)
    return body


SINGLE_PATH, BULK_PATH = "/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags"


@pytest.fixture
def server() -> FakeServer:
    server = FakeServer()
    server.rulesets.swap(document(2, *ALL))
    return server


@pytest.fixture
async def http(server: FakeServer) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    app.add_routes(ofrep.routes(server, Clients(server)))
    async with TestClient(TestServer(app)) as client:
        yield client


def test_spec__paths__are_the_ones_that_are_served() -> None:
    assert set(spec()["paths"]) == {ofrep.SINGLE, ofrep.BULK}
    assert spec()["info"]["version"] == "0.3.0"


@pytest.mark.parametrize("key", [each["key"] for each in ALL])
@pytest.mark.parametrize("headers", [phone(), BACK], ids=["phone", "backend"])
async def test_single__every_kind_of_decision__is_what_the_schema_says(
    http: TestClient[Any, Any], key: str, headers: dict[str, str]
) -> None:
    response = await http.post(f"{BULK}/{key}", headers=headers, json={"context": {"targetingKey": "u1"}})

    body = await check_answer(response, SINGLE_PATH)

    assert response.status == 200
    assert body["key"] == key
    assert set(body) == {"key", "value", "reason", "variant", "metadata"}


@pytest.mark.parametrize("kind", FIVE)
async def test_single__values__have_the_type_of_their_flag(http: TestClient[Any, Any], kind: str) -> None:
    names = {"boolean": "booleanFlag", "string": "stringFlag", "integer": "integerFlag", "object": "objectFlag"}
    for key, variant in ((kind, "on"), (f"{kind}.off", "off")):
        body = await (await http.post(f"{BULK}/{key}", headers=phone())).json()
        check(names.get(kind, "floatFlag"), body)
        assert body["value"] == FIVE[kind][variant]
        assert type(body["value"]) is type(FIVE[kind][variant])


async def test_bulk__all_flags__are_what_the_schema_says(http: TestClient[Any, Any]) -> None:
    response = await http.post(BULK, headers=phone(), json={"context": {"targetingKey": "u1"}})

    body = await check_answer(response, BULK_PATH)

    assert [each["key"] for each in body["flags"]] == sorted(each["key"] for each in ALL)
    assert len(body["eventStreams"]) == 1


async def test_bulk__same_etag__is_304_without_a_body(http: TestClient[Any, Any]) -> None:
    etag = (await http.post(BULK, headers=phone())).headers["ETag"]

    response = await http.post(BULK, headers=phone(**{"If-None-Match": etag}))

    assert response.status == 304
    assert await check_answer(response, BULK_PATH) is None
    assert await response.read() == b""


@pytest.mark.parametrize(("url", "path"), [(BULK, BULK_PATH), (f"{BULK}/boolean", SINGLE_PATH)], ids=["bulk", "single"])
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (BACK, b"{", 400),
        (BACK, b'{"context":[]}', 400),
        (BACK, b'{"context":{"targetingKey":1}}', 400),
        ({}, b"", 401),
        ({"X-API-Key": READER}, b"", 403),
    ],
)
async def test_refusal__of_every_kind__is_what_the_schema_says(
    http: TestClient[Any, Any], url: str, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    response = await http.post(url, headers=headers, data=body)

    await check_answer(response, path)

    assert response.status == status


async def test_single__unknown_flag__is_what_the_schema_says(http: TestClient[Any, Any]) -> None:
    response = await http.post(f"{BULK}/absent", headers=phone())

    body = await check_answer(response, SINGLE_PATH)

    assert response.status == 404
    assert body == {
        "key": "absent",
        "errorCode": "FLAG_NOT_FOUND",
        "errorDetails": "There is no feature 'absent'.",
    }


@pytest.mark.parametrize(("url", "path"), [(BULK, BULK_PATH), (f"{BULK}/boolean", SINGLE_PATH)], ids=["bulk", "single"])
async def test_rate__too_many__says_when_to_retry(
    http: TestClient[Any, Any], server: FakeServer, url: str, path: str
) -> None:
    for _ in range(5 * PHONE_DECISIONS_PER_SECOND):
        await http.post(url, headers=phone())

    response = await http.post(url, headers=phone(Origin="https://app.example"))

    await check_answer(response, path)
    assert response.status == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
    server.clock += timedelta(seconds=int(response.headers["Retry-After"]))
    assert (await http.post(url, headers=phone())).status == 200


async def test_evaluation__a_fault_in_one_feature__fails_alone_as_the_schema_says(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    broken = server.rulesets.current.features["rule"]
    features = {**server.rulesets.current.features, "rule": replace(broken, decide=fail, own=fail)}
    server.rulesets.install(replace(server.rulesets.current, features=features))
    single = await http.post(f"{BULK}/rule", headers=phone())
    bulk = await check_answer(await http.post(BULK, headers=phone()), BULK_PATH)

    assert single.status == 500
    assert (await check_answer(single, SINGLE_PATH))["errorCode"] == "GENERAL"
    told = {each["key"]: each for each in bulk["flags"]}
    assert told["rule"]["errorDetails"]
    check("evaluationFailure", told["rule"])
    assert "errorCode" not in told["share"]


@pytest.mark.parametrize(("url", "path"), [(BULK, BULK_PATH), (f"{BULK}/boolean", SINGLE_PATH)], ids=["bulk", "single"])
async def test_evaluation__a_fault_of_ours__is_500_as_the_schema_says(
    http: TestClient[Any, Any], monkeypatch: pytest.MonkeyPatch, url: str, path: str
) -> None:
    def decide(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr("rollout.serving.ofrep.decide", decide)
    monkeypatch.setattr("rollout.serving.evaluations.decide_all", decide)

    response = await http.post(url, headers=phone(Origin="https://app.example"))

    body = await check_answer(response, path)
    assert response.status == 500
    assert body["errorDetails"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_stream__events__are_what_the_schema_says(http: TestClient[Any, Any], server: FakeServer) -> None:
    told = await (await http.post(BULK, headers=phone("bob"))).json()
    check("eventStream", told["eventStreams"][0])
    stream = await http.get(told["eventStreams"][0]["url"].removeprefix(server.public_url))
    await stream.content.readuntil(b"\n\n")

    row = {"subscriber": BOB, "feature": "wave", "grant": 7, "source": "wave"}
    server.happen(FeedRow(7, "grant.created", row, NOW.timestamp()))
    block = await asyncio.wait_for(stream.content.readuntil(b"\n\n"), 3)

    said = yaml.safe_load((VECTORS / "event-streams.yaml").read_text())
    responses = said["components"]["pathItems"]["eventStreamConnection"]["get"]["responses"]
    assert list(responses["200"]["content"]) == [stream.content_type]
    event = dict(line.split(": ", 1) for line in block.decode().strip().split("\n"))
    check("sseEvent", event)
    check("sseEventData", json.loads(event["data"]))
    stream.close()


def test_check__wrong_answers__are_seen() -> None:
    """The mended schemas still refuse what is wrong."""
    good = {"key": "a", "value": True, "reason": "STATIC", "variant": "on", "metadata": {"a": 1}}
    check("serverEvaluationSuccess", good)
    for bad in (
        {**good, "reason": "TARGETING"},
        {**good, "metadata": {"a": [1]}},
        {**good, "metadata": {"a": None}},
        {**good, "variant": None},
        {"value": True, "reason": "STATIC"},
    ):
        with pytest.raises(ValidationError):
            check("serverEvaluationSuccess", bad)
