"""OFREP and /v1/me/features over HTTP, with a ruleset in memory and no store: what phones and backends are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from rollout.rules.definition.bucket import bucket
from rollout.serving import evaluations, me, ofrep
from rollout.serving.clients import Clients
from rollout.serving.feed import FeedRow
from tests import published
from tests.journeys.fake_server import (
    ALICE,
    BACK,
    BACKEND,
    BOB,
    BULK,
    GRANT,
    NOW,
    OLD,
    READER,
    FakeServer,
    Token,
    document,
    feature,
    phone,
)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def http(server: FakeServer) -> AsyncIterator[TestClient[Any, Any]]:
    app = web.Application()
    clients = Clients(server)
    app.add_routes([*ofrep.routes(server, clients), *me.routes(server, clients)])
    async with TestClient(TestServer(app)) as client:
        yield client


async def one(http: TestClient[Any, Any], key: str, headers: dict[str, str], **context: Any) -> tuple[int, Any]:
    response = await http.post(f"{BULK}/{key}", headers=headers, json={"context": context})
    return response.status, await response.json()


async def test_single__phone_with_a_grant__has_it_with_variant_reason_and_flat_cause(
    http: TestClient[Any, Any],
) -> None:
    status, body = await one(http, "voice-calls", phone(), targetingKey="ignored")

    assert status == 200
    assert body == {
        "key": "voice-calls",
        "value": True,
        "reason": "TARGETING_MATCH",
        "variant": "on",
        "metadata": {"cause": "granted_by_operator"},
    }


async def test_single__disabled__still_says_its_variant(http: TestClient[Any, Any]) -> None:
    _, body = await one(http, "video-calls", phone())

    assert (body["value"], body["variant"], body["reason"]) == (False, "off", "DISABLED")


async def test_single__float__keeps_its_point(http: TestClient[Any, Any]) -> None:
    response = await http.post(f"{BULK}/ratio", headers=phone())

    assert b'"value":1.0' in await response.read()


async def test_single__hidden_feature__looks_unknown_to_a_phone_byte_for_byte(http: TestClient[Any, Any]) -> None:
    hidden = await http.post(f"{BULK}/secret.thing", headers=phone())
    unknown = await http.post(f"{BULK}/absent.thing", headers=phone())
    backend = await http.post(f"{BULK}/secret.thing", headers=BACK)

    assert (hidden.status, unknown.status, backend.status) == (404, 404, 200)
    told = [(await each.read()).replace(b"absent", b"secret") for each in (hidden, unknown)]
    assert told[0] == told[1]
    assert orjson.loads(told[0])["errorCode"] == "FLAG_NOT_FOUND"
    assert orjson.loads(told[0])["errorDetails"]


async def test_single__token_issued_before_the_grant__answers_true_once_the_feed_has_it(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    before = (await one(http, "voice-calls", phone("bob")))[1]
    granted = {"subscriber": BOB, "feature": "voice-calls", "grant": 9, "source": "invite", "depth": 1, "root": 5}

    server.feed.add([FeedRow(1, "grant.created", granted, NOW.timestamp() + 60)])
    after = (await one(http, "voice-calls", phone("bob")))[1]
    server.feed.add([FeedRow(2, "grant.revoked", {**granted}, NOW.timestamp() + 70)])
    revoked = (await one(http, "voice-calls", phone("bob")))[1]

    assert (before["value"], before["metadata"]["cause"]) == (False, "waiting_for_launch")
    assert before["metadata"]["invite"] == "open"
    assert (after["value"], after["metadata"]["cause"]) == (True, "granted_by_invite")
    assert revoked["value"] is False


async def test_single__token_traits__beat_the_request(http: TestClient[Any, Any], server: FakeServer) -> None:
    server.tokens["us"] = Token(ALICE, traits={"country": "US"})

    german = (await one(http, "german", phone(), country="US"))[1]
    american = (await one(http, "german", phone("us"), country="DE", targetingKey=BOB))[1]

    assert german["value"] is True
    assert german["metadata"]["rule"] == "Germans"
    assert american["value"] is False


async def test_single__phone_that_sets_the_clock__is_decided_at_the_time_of_the_decision(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    later = [[{"trait": "currentTime", "operator": "DATE_AFTER", "values": ["2015-04-01T00:00:00Z"]}]]
    server.rulesets.swap(document(2, feature("april", access="rules", rules=[{"any_of": later}])))

    phones = (await one(http, "april", phone(), currentTime="2015-04-02T00:00:00Z"))[1]
    backends = (await one(http, "april", BACK, currentTime="2015-04-02T00:00:00Z"))[1]

    assert phones["value"] is False
    assert backends["value"] is True  # a backend may ask about another moment: it is trusted with everything else too


async def test_single__revoked_device__is_refused_though_its_token_has_not_expired(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.feed.add([FeedRow(1, "device.revoked", {"subscriber": BOB, "device": "d2"}, NOW.timestamp())])

    assert (await one(http, "voice-calls", phone("bob")))[0] == 401
    assert (await one(http, "voice-calls", phone("alice")))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Basic YWxhZGRpbg=="}, 401),
        ({"X-API-Key": "rk_unknown"}, 401),
        ({"X-API-Key": OLD}, 401),
        ({"X-API-Key": READER}, 403),
        ({"Authorization": f"Bearer {BACKEND}"}, 200),
        ({"X-API-Key": BACKEND}, 200),
    ],
)
async def test_single__credentials__decide_who_may_ask(
    http: TestClient[Any, Any], headers: dict[str, str], status: int
) -> None:
    response = await http.post(f"{BULK}/ratio", headers={**headers, "Origin": "https://app.example"})
    body = await response.json()

    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    if status != 200:
        assert response.content_type == "application/problem+json"
        assert body["errorDetails"] == body["detail"]
        assert body["key"] == "ratio"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"context":null}', b'{"context":{}}', b"  "])
async def test_single__no_context_at_all__works(http: TestClient[Any, Any], body: bytes) -> None:
    for headers in (phone(), BACK):
        response = await http.post(f"{BULK}/ratio", headers=headers, data=body)
        assert response.status == 200
    response = await http.post(f"{BULK}/voice-calls", headers=BACK, data=body)
    assert (await response.json())["value"] is False


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "PARSE_ERROR"),
        (b"[]", 400, "PARSE_ERROR"),
        (b'"x"', 400, "PARSE_ERROR"),
        (b'{"context":NaN}', 400, "PARSE_ERROR"),
        (b'{"context":{"a":1e309}}', 400, "PARSE_ERROR"),
        (b"[" * 5000 + b"]" * 5000, 400, "PARSE_ERROR"),
        (b'{"context":[]}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":5}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"' + b"x" * 257 + b'"}}', 400, "INVALID_CONTEXT"),
        (b'{"context":{"a":' + b"[" * 20 + b"]" * 20 + b"}}", 400, "INVALID_CONTEXT"),
        (b'{"context":{"a":[' + b"1," * 1000 + b"1]}}", 400, "INVALID_CONTEXT"),
        (b'{"context":{"a":"' + b"x" * 70_000 + b'"}}', 413, "GENERAL"),
    ],
)
@pytest.mark.parametrize("path", [BULK, f"{BULK}/ratio"])
async def test_evaluation__bad_body__is_refused_in_ofreps_words(
    http: TestClient[Any, Any], path: str, body: bytes, status: int, code: str
) -> None:
    response = await http.post(path, headers=BACK, data=body)
    told = await response.json()

    assert response.status == status
    assert told["errorCode"] == code
    assert told["errorDetails"]


async def test_single__odd_keys__are_unknown_and_nothing_worse(http: TestClient[Any, Any]) -> None:
    for key in ("%00", "..%2f..", "x" * 300, "%F0%9F%98%80", "a%20b"):
        response = await http.post(f"{BULK}/{key}", headers=phone())
        assert response.status == 404


@pytest.mark.parametrize("key", ["a/b", "a%2Fb", "a/", "", "a//b/c"])
async def test_single__key_with_slashes__is_unknown_in_ofreps_words(http: TestClient[Any, Any], key: str) -> None:
    response = await http.post(URL(f"{BULK}/{key}", encoded=True), headers=phone(Origin="https://app.example"))

    told = await response.json()
    assert (response.status, told["errorCode"], told["key"]) == (404, "FLAG_NOT_FOUND", key.replace("%2F", "/"))
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", f"{BULK}/ratio"), ("PUT", f"{BULK}/a/b"), ("GET", BULK), ("POST", "/ofrep/v1/events")]
)
async def test_evaluation__wrong_method__is_refused_in_ofreps_words(
    http: TestClient[Any, Any], method: str, path: str
) -> None:
    response = await http.request(method, path, headers=phone(Origin="https://app.example"))

    told = await response.json(content_type=None)
    assert (response.status, told["code"], told["errorCode"]) == (405, "method_not_allowed", "GENERAL")
    assert told.get("key") == (path.removeprefix(f"{BULK}/") if path.startswith(f"{BULK}/") else None)
    assert response.headers["Access-Control-Allow-Origin"] == "*"


ROW = {
    "id": BOB,
    "traits": {"country": "DE"},
    "devices": [{"id": "d1", "traits": {"platform": "ios"}}],
    "grants": {"voice-calls": GRANT["voice-calls"]},
    "accepts_invites": True,
}


async def test_single__backend_names_a_subscriber__grants_are_read_and_remembered(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.rows = {BOB: ROW}

    told = [(await one(http, "voice-calls", BACK, targetingKey=BOB.upper()))[1] for _ in range(3)]
    german = (await one(http, "german", BACK, targetingKey=BOB))[1]

    assert [each["value"] for each in told] == [True] * 3
    assert german["value"] is True
    assert server.looked_up == 1


async def test_single__backend_without_postgresql__tries_again_but_phones_are_answered(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.rows = {BOB: ROW}
    await one(http, "voice-calls", BACK, targetingKey=BOB)
    server.rows = None
    server.clock += timedelta(seconds=4)
    within = await one(http, "voice-calls", BACK, targetingKey=BOB)
    server.clock += timedelta(seconds=2)
    response = await http.post(f"{BULK}/voice-calls", headers=BACK, json={"context": {"targetingKey": BOB}})
    told = await response.json()

    assert within[0] == 200
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert (told["code"], told["errorCode"]) == ("try_again", "GENERAL")
    assert (await one(http, "voice-calls", phone()))[1]["value"] is True
    assert (await one(http, "ratio", BACK, targetingKey="somebody"))[0] == 200
    assert (await http.post(BULK, headers=phone())).status == 200


async def test_single__revoked_after_the_row_was_read__counts_at_once(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.rows = {BOB: ROW}
    before = (await one(http, "voice-calls", BACK, targetingKey=BOB))[1]
    server.feed.add(
        [FeedRow(1, "grant.revoked", {"subscriber": BOB, "feature": "voice-calls", "grant": 5}, NOW.timestamp() + 1)]
    )

    assert before["value"] is True
    assert (await one(http, "voice-calls", BACK, targetingKey=BOB))[1]["value"] is False


async def test_single__backend_names_somebody_unknown__is_decided_by_the_context(http: TestClient[Any, Any]) -> None:
    unknown = "018f3c1e-7b1a-7c3d-9e2f-000000000000"

    assert (await one(http, "german", BACK, targetingKey=unknown, country="DE"))[1]["value"] is True
    assert (await one(http, "german", BACK, targetingKey="user-123", country="US"))[1]["value"] is False


@pytest.mark.parametrize("unit", ["+4930123456", "user-123", "018f3c1e-7b1a-7c3d-9e2f-000000000000"])
async def test_evaluation__targeting_key_is_nobodys_id__says_so_in_metadata(
    http: TestClient[Any, Any], server: FakeServer, unit: str
) -> None:
    server.rows = {BOB: ROW}

    async def bulk(headers: dict[str, str], **context: Any) -> dict[str, Any]:
        return dict(await (await http.post(BULK, headers=headers, json={"context": context})).json())

    assert (await one(http, "german", BACK, targetingKey=unit))[1]["metadata"]["subscriber"] == "unknown"
    assert (await bulk(BACK, targetingKey=unit))["metadata"] == {"ruleset": 1, "subscriber": "unknown"}
    for headers, context in ((BACK, {"targetingKey": BOB}), (BACK, {}), (phone(), {"targetingKey": unit})):
        assert "subscriber" not in (await one(http, "german", headers, **context))[1]["metadata"]
        assert "subscriber" not in (await bulk(headers, **context))["metadata"]


async def test_share__of_a_backends_unit__is_the_bucket(http: TestClient[Any, Any], server: FakeServer) -> None:
    half = feature("half", access="rules", rules=[{"share_ppm": 500_000}])
    server.rulesets.swap(document(2, half))

    for unit in ("u1", "u2", "u3", "u4", "u5"):
        body = (await one(http, "half", BACK, targetingKey=unit))[1]
        assert body["value"] is (bucket("s", unit) < 500_000)
        if body["value"]:
            assert body["reason"] == "SPLIT"


async def test_bulk__phone__sees_the_announced_features_and_single_agrees(http: TestClient[Any, Any]) -> None:
    response = await http.post(BULK, headers=phone())
    body = await response.json()

    assert [each["key"] for each in body["flags"]] == ["german", "ratio", "video-calls", "voice-calls"]
    for each in body["flags"]:
        assert (await one(http, each["key"], phone()))[1] == each
        assert all(isinstance(value, str | bool | int | float) for value in each["metadata"].values())


async def test_bulk__etag__changes_with_grants_ruleset_and_context_and_with_nothing_else(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    async def etag(headers: dict[str, str], **context: Any) -> str:
        response = await http.post(BULK, headers=headers, json={"context": context})
        return response.headers["ETag"]

    first = await etag(phone("bob"))
    server.clock += timedelta(seconds=1)
    again = await etag(phone("bob"))
    other_country = await etag(BACK, country="DE")
    no_country = await etag(BACK)
    server.feed.add(
        [
            FeedRow(
                1,
                "grant.created",
                {"subscriber": BOB, "feature": "voice-calls", "grant": 9, "source": "invite"},
                NOW.timestamp() + 60,
            )
        ]
    )
    granted = await etag(phone("bob"))
    server.rulesets.swap(document(2))
    published = await etag(phone("bob"))

    assert first == again
    assert len({first, other_country, no_country, granted, published}) == 5
    assert first.startswith('"')
    assert first.endswith('"')


@pytest.mark.parametrize("wrap", ["{}", "W/{}", '"other", {}', "*"])
async def test_bulk__if_none_match__answers_304_without_a_body(http: TestClient[Any, Any], wrap: str) -> None:
    etag = (await http.post(BULK, headers=phone())).headers["ETag"]

    same = await http.post(BULK, headers=phone(**{"If-None-Match": wrap.format(etag)}))
    other = await http.post(BULK, headers=phone(**{"If-None-Match": '"other"'}))

    assert same.status == 304
    assert same.headers["ETag"] == etag
    assert same.headers["Rollcall-Ruleset"] == "1"
    assert await same.read() == b""
    assert other.status == 200


ASKING: list[tuple[str, str]] = [("POST", BULK), ("POST", f"{BULK}/ratio"), ("GET", "/v1/me/features")]


@pytest.mark.parametrize(("method", "path"), ASKING)
async def test_ruleset_asked_for__arrives_while_it_is_waited_for__decides(
    http: TestClient[Any, Any], server: FakeServer, method: str, path: str
) -> None:
    asked = asyncio.create_task(http.request(method, path, headers=phone(**{"Rollcall-Ruleset-Min": "3"})))
    await asyncio.sleep(0.05)
    server.rulesets.swap(document(2))
    await asyncio.sleep(0.05)
    waited = not asked.done()

    server.rulesets.swap(document(4))
    response = await asked

    assert waited
    assert server.nudged
    assert (response.status, response.headers["Rollcall-Ruleset"]) == (200, "4")


@pytest.mark.parametrize(("method", "path"), ASKING)
async def test_ruleset_asked_for__is_here_or_does_not_come__is_answered_or_tried_again(
    http: TestClient[Any, Any], method: str, path: str
) -> None:
    here = await http.request(method, path, headers=phone(**{"Rollcall-Ruleset-Min": "1"}))
    absent = await http.request(method, path, headers=phone(**{"Rollcall-Ruleset-Min": "2"}))
    nonsense = await http.request(method, path, headers=phone(**{"Rollcall-Ruleset-Min": "new"}))
    stranger = await http.request(method, path, headers={"Rollcall-Ruleset-Min": "2"})

    assert (here.status, here.headers["Rollcall-Ruleset"]) == (200, "1")
    assert (absent.status, absent.headers["Retry-After"]) == (503, "1")
    assert "Ruleset 2 hasn't arrived" in (await absent.json(content_type=None))["detail"]
    assert nonsense.status == 400
    assert stranger.status == 401


async def test_cors__preflight_and_allow_list__let_browsers_read_the_etag(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    anybody = await http.options(BULK, headers=asked)
    server.allowed_origins = ("https://app.example",)
    listed = await http.post(BULK, headers=phone(Origin="https://app.example"))
    stranger = await http.post(BULK, headers=phone(Origin="https://evil.example"))

    assert anybody.status == 204
    assert "If-None-Match" in anybody.headers["Access-Control-Allow-Headers"]
    assert "Rollcall-Ruleset-Min" in anybody.headers["Access-Control-Allow-Headers"]
    assert listed.headers["Access-Control-Expose-Headers"] == "ETag, Retry-After, Rollcall-Ruleset"
    assert listed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Origin" not in stranger.headers


async def test_rate__phone_that_asks_too_often__is_told_when_to_come_back(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    statuses = [(await http.post(f"{BULK}/ratio", headers=phone())).status for _ in range(101)]
    refused = await http.post(f"{BULK}/ratio", headers=phone())
    other = await http.post(f"{BULK}/ratio", headers=phone("bob"))
    server.clock += timedelta(seconds=int(refused.headers["Retry-After"]))
    later = await http.post(f"{BULK}/ratio", headers=phone())

    assert statuses == [200] * 100 + [429]
    assert (refused.status, other.status, later.status) == (429, 200, 200)


async def mine(http: TestClient[Any, Any], token: str) -> dict[str, Any]:
    response = await http.get("/v1/me/features", headers=phone(token))
    assert response.status == 200
    told = await response.json()
    published.check("GET", "/v1/me/features", 200, told)
    return {row["key"]: row for row in told["features"]}


async def test_me__features__agree_with_ofrep_and_say_why_in_words(http: TestClient[Any, Any]) -> None:
    rows = await mine(http, "bob")

    assert set(rows) == {"german", "ratio", "video-calls", "voice-calls"}
    for key, row in rows.items():
        told = (await one(http, key, phone("bob")))[1]
        assert (row["value"], row["variant"], row["cause"]) == (
            told["value"],
            told["variant"],
            told["metadata"]["cause"],
        )
        assert row["words"].endswith(".")
    assert rows["voice-calls"]["standing"] == {"invite": "open"}
    assert rows["voice-calls"]["invites"] is None


async def test_me__wave_to_come__says_where_the_rollout_stands(http: TestClient[Any, Any], server: FakeServer) -> None:
    wave = {"name": "Germany", "position": 3, "state": "open", "share_ppm": 1_000_000, "any_of": []}
    server.rulesets.swap(document(2, feature("voice-calls", waves=[wave])))

    row = (await mine(http, "bob"))["voice-calls"]

    assert row["cause"] == "waiting_for_wave"
    assert row["standing"] == {"wave": "Germany", "wave_position": 3, "wave_state": "open", "invite": "closed"}
    assert "your turn is not here yet" in row["words"]


@pytest.mark.parametrize(
    ("row", "left", "part"),
    [
        ({"left": 3, "quota": 5, "depth_ok": True, "closes_at": None, "frozen": False}, 3, "3 more people"),
        ({"left": 1, "quota": 5, "depth_ok": True, "closes_at": None, "frozen": False}, 1, "1 more person"),
        ({"left": 0, "quota": 5, "depth_ok": True, "closes_at": None, "frozen": False}, 0, "used all"),
        ({"left": 3, "quota": 5, "depth_ok": False, "closes_at": None, "frozen": False}, 0, "had it first"),
        ({"left": 3, "quota": 5, "depth_ok": True, "closes_at": None, "frozen": True}, 0, "not bring others"),
        (None, 0, "not where you are"),
    ],
)
async def test_me__holder_while_a_window_is_open__is_told_how_many_invites_are_left(
    http: TestClient[Any, Any], server: FakeServer, row: Any, left: int, part: str
) -> None:
    server.invites = {"voice-calls": row} if row else {}

    invites = (await mine(http, "alice"))["voice-calls"]["invites"]

    assert invites["left"] == left
    assert part in invites["words"]


async def test_me__postgresql_away__keeps_the_decision_and_leaves_the_number_open(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.rows = None

    row = (await mine(http, "alice"))["voice-calls"]

    assert row["value"] is True
    assert row["invites"]["left"] is None


async def test_me__api_key__is_refused(http: TestClient[Any, Any]) -> None:
    assert (await http.get("/v1/me/features", headers=BACK)).status == 401
    assert (await http.get("/v1/me/features")).status == 401


HIDDEN = feature("secret.thing", switch="killed", visible_to_phones=False)
NEEDY = feature("needy", access="everyone", prerequisites=["secret.thing"])


async def test_visibility__feature_behind_a_hidden_one__does_not_name_it_to_phones(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    server.rulesets.swap(document(2, HIDDEN, NEEDY))
    asked = [(f"{BULK}/needy", "POST"), (BULK, "POST"), ("/v1/me/features", "GET")]

    to_phone = [await (await http.request(method, url, headers=phone())).text() for url, method in asked]
    to_backend = (await one(http, "needy", BACK))[1]

    for text in to_phone:
        assert "needs_feature" in text
        assert "secret" not in text
    assert to_backend["metadata"]["needs"] == "secret.thing"


async def test_visibility__feature_that_is_announced_later__appears_everywhere_at_once(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    async def seen() -> tuple[int, set[str], set[str]]:
        single = await one(http, "secret.thing", phone())
        bulk = await (await http.post(BULK, headers=phone())).json()
        return single[0], {each["key"] for each in bulk["flags"]}, set(await mine(http, "alice"))

    server.rulesets.swap(document(2, HIDDEN))
    before = await seen()
    server.rulesets.swap(document(3, {**HIDDEN, "visible_to_phones": True}))

    assert before == (404, set(), set())
    assert await seen() == (200, {"secret.thing"}, {"secret.thing"})


async def test_visibility__hidden_and_absent__give_the_same_headers(http: TestClient[Any, Any]) -> None:
    told = []
    for key in ("secret.thing", "absent.thing"):
        response = await http.post(f"{BULK}/{key}", headers=phone())
        told.append({name: value for name, value in response.headers.items() if name != "Date"})

    assert told[0] == told[1]


async def test_bulk__same_request_again__is_not_decided_again_until_something_changes(
    http: TestClient[Any, Any], server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = 0

    def decide_all(features: Any, *rest: Any) -> Any:
        nonlocal decided
        decided += len(features)
        return real(features, *rest)

    async def ask(country: str = "DE", headers: dict[str, str] = BACK) -> int:
        """How many decisions it took."""
        before = decided
        await http.post(BULK, headers=headers, json={"context": {"targetingKey": "u", "country": country}})
        return decided - before

    real = evaluations.decide_all
    monkeypatch.setattr(evaluations, "decide_all", decide_all)
    for _ in range(2):  # an answer is kept when it is asked for a second time
        first, other = await ask(), await ask("US")
        alice, bob = await ask(headers=phone("alice")), await ask(headers=phone("bob"))
    again = await ask()
    same = await ask(headers=phone("bob"))
    granted = {"subscriber": BOB, "feature": "voice-calls", "grant": 9, "source": "invite"}
    server.happen(FeedRow(1, "grant.created", granted, NOW.timestamp()))
    changed, unchanged = await ask(headers=phone("bob")), await ask(headers=phone("alice"))
    server.rulesets.swap(document(2))
    published = await ask()

    assert [bool(each) for each in (first, again, other, alice, bob, same)] == [True, False, True, True, True, False]
    assert [bool(each) for each in (changed, unchanged, published)] == [True, False, True]


async def test_bulk__rule_about_the_time__is_decided_anew_each_time(
    http: TestClient[Any, Any], server: FakeServer
) -> None:
    def clause(minute: int) -> dict[str, Any]:
        return {"trait": "currentTime", "operator": "DATE_AFTER", "values": [f"2015-03-31T12:{minute:02d}:30Z"]}

    for version, nested in ((2, [[clause(2)]]), (3, [[{"any_of": [[clause(3)]]}]])):
        server.clock = NOW + timedelta(minutes=version)
        server.rulesets.swap(document(version, feature("timed", access="rules", rules=[{"any_of": nested}])))
        before = await (await http.post(BULK, headers=phone())).json()
        server.clock += timedelta(seconds=31)
        after = await (await http.post(BULK, headers=phone())).json()

        assert [each["flags"][0]["value"] for each in (before, after)] == [False, True]


async def test_bulk__tokens_of_the_same_second__are_told_apart(http: TestClient[Any, Any], server: FakeServer) -> None:
    server.tokens["older"] = Token(BOB, device="d2")
    server.tokens["newer"] = Token(BOB, device="d2", grants=GRANT)

    values = []
    for token in ("older", "newer"):
        body = await (await http.post(BULK, headers=phone(token))).json()
        values += [each["value"] for each in body["flags"] if each["key"] == "voice-calls"]

    assert values == [False, True]


async def test_credentials__odd_bytes__are_refused_and_nothing_worse(http: TestClient[Any, Any]) -> None:
    for raw in ("rk_\udcff", "\udcff", "rk_é", "x" * 8000):
        for headers in ({"X-API-Key": raw}, {"Authorization": f"Bearer {raw}"}):
            assert (await http.post(BULK, headers=headers)).status == 401
