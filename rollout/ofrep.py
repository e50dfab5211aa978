"""OFREP 0.3.0: single and bulk evaluation, for phones (their own access token) and backends (an API key).

Decisions come from memory. What clients trip over is done on purpose: the ETag is a hash of the answer's bytes;
`variant` is always sent; `reason` is always one of OpenFeature's; metadata is flat; floats keep their point.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from controlplane.refusal import Refusal
from rollout.desk import Caller, Counter, Desk
from rollout.rules.decision import Cause, Decision, Reason, decide
from rollout.words import say

SINGLE = "/ofrep/v1/evaluate/flags/{key}"
BULK = "/ofrep/v1/evaluate/flags"
LARGEST_BODY = 64 * 1024
MOST_MEMBERS = 1_000
DEEPEST = 16
LONGEST_UNIT = 256

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadContext(Refusal):
    """The request can't be evaluated; `error_code` is OpenFeature's."""

    code = "bad_context"
    title = "The evaluation request can't be used"

    def __init__(self, detail: str, *, error_code: str = "INVALID_CONTEXT") -> None:
        super().__init__(detail)
        self.error_code = error_code


class TooLarge(Refusal):
    code = "too_large"
    status = 413
    title = "The request is too large"


def routes(desk: Desk, counter: Counter | None = None) -> list[web.RouteDef]:
    """The routes to mount; `counter` may be shared with `rollout.me`."""
    window = Ofrep(counter or Counter(desk))
    cors = Browsers(desk)
    return [
        web.post(SINGLE, cors.wrap(window.single)),
        web.post(BULK, cors.wrap(window.bulk)),
        web.options(SINGLE, cors.preflight),
        web.options(BULK, cors.preflight),
    ]


class Browsers:
    """What lets pages of other origins ask. No cookie ever counts here, so any origin may, unless a list is set."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def headers(self, request: web.Request) -> dict[str, str]:
        origin = request.headers.get("Origin")
        allowed = self._desk.allowed_origins
        if origin is None:
            return {}
        if not allowed:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag, Retry-After"}
        if origin not in allowed:
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "ETag, Retry-After",
            "Vary": "Origin",
        }

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(
            status=204,
            headers={
                **self.headers(request),
                "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, X-API-Key",
                "Access-Control-Max-Age": "7200",
            },
        )

    def wrap(self, handler: Handler) -> Handler:
        """Adds the headers, also to refusals, which are problem details with OFREP's members beside them."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                response = await handler(request)
            except Refusal as refusal:
                response = problem(refusal, request.match_info.get("key"))
            response.headers.update(self.headers(request))
            return response

        return answer


def problem(refusal: Refusal, key: str | None) -> web.Response:
    body = {
        **refusal.as_problem(),
        "errorCode": getattr(refusal, "error_code", "GENERAL"),
        "errorDetails": refusal.detail,
    }
    if key is not None:
        body["key"] = key
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after is not None else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(
        status=refusal.status, body=orjson.dumps(body), content_type="application/problem+json", headers=headers
    )


class Ofrep:
    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._desk = counter.desk

    async def single(self, request: web.Request) -> web.StreamResponse:
        caller = self._counter.caller(request)
        context = await read_context(request)
        ruleset = self._desk.rulesets.current
        key = request.match_info["key"]
        if not caller.may_see(ruleset, key):
            missing = {"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": f"There is no feature {key[:64]!r}."}
            return _json(missing, status=404)
        party = await self._counter.party(caller, context)
        decision = decide(ruleset, key, party, self._desk.now())
        return _json(item(decision, ruleset.version), status=500 if decision.cause is Cause.ERROR else 200)

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        caller = self._counter.caller(request)
        context = await read_context(request)
        body = orjson.dumps(await self._all(caller, context))
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if matches(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag})

    async def _all(self, caller: Caller, context: Mapping[str, Any]) -> dict[str, Any]:
        party = await self._counter.party(caller, context)
        ruleset, now = self._desk.rulesets.current, self._desk.now()
        flags = [
            item(decide(ruleset, key, party, now), ruleset.version)
            for key in ruleset.features
            if caller.may_see(ruleset, key)
        ]
        return {"flags": flags, "metadata": {"ruleset": ruleset.version}}


def item(decision: Decision, version: int) -> dict[str, Any]:
    """One evaluation as OFREP writes it."""
    if decision.reason is Reason.ERROR:
        return {"key": decision.feature, "errorCode": "GENERAL", "errorDetails": say(decision)}
    return {
        "key": decision.feature,
        "value": decision.value,
        "reason": str(decision.reason),
        "variant": decision.variant,
        "metadata": {**decision.detail, "cause": str(decision.cause), "ruleset": version},
    }


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag, weakly compared as RFC 9110 §13.1.2 says."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag in named or etag.strip('"') in named


async def read_context(request: web.Request) -> Mapping[str, Any]:
    """The request's context; none at all is an empty one. Raises `BadContext` or `TooLarge`."""
    body = await _body(request)
    if not body.strip():
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadContext(f"The body is not JSON: {error}.", error_code="PARSE_ERROR") from error
    if not isinstance(document, dict):
        raise BadContext("The body must be an object with a member context.", error_code="PARSE_ERROR")
    context = document.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise BadContext("context must be an object.")
    unit = context.get("targetingKey")
    if unit is not None and (not isinstance(unit, str) or len(unit) > LONGEST_UNIT):
        raise BadContext(f"context.targetingKey must be a string of at most {LONGEST_UNIT} characters.")
    if _members(context, 0) > MOST_MEMBERS:
        raise BadContext(f"context has more than {MOST_MEMBERS} members.")
    return context


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > LARGEST_BODY:
        raise TooLarge(f"Send at most {LARGEST_BODY} bytes.")
    parts = bytearray()
    async for part in request.content.iter_any():
        parts += part
        if len(parts) > LARGEST_BODY:
            raise TooLarge(f"Send at most {LARGEST_BODY} bytes.")
    return bytes(parts)


def _members(raw: Any, depth: int) -> int:
    if depth > DEEPEST:
        raise BadContext(f"context is deeper than {DEEPEST} levels.")
    inner = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    return len(inner) + sum(_members(each, depth + 1) for each in inner)


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
