"""OFREP 0.3.0: single and bulk evaluation, for phones (their own access token) and backends (an API key).

Decisions come from memory. The ETag is a hash of the answer's bytes, so it changes with the context and the grants too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from rollout import streams
from rollout.browsers import Browsers
from rollout.context import Context, read_context
from rollout.desk import Caller, Counter, Desk, Standing
from rollout.evaluations import Evaluations, item, not_found, told_to_phones
from rollout.rules.decision import Cause, Ruleset, decide
from rollout.streams import Streams

SINGLE = "/ofrep/v1/evaluate/flags/{key}"
BULK = "/ofrep/v1/evaluate/flags"
LONGEST_ETAGS = 4_096


def routes(desk: Desk, counter: Counter | None = None, listening: Streams | None = None) -> list[web.RouteDef]:
    """The routes to mount; `counter` may be shared with `rollout.me`. Whoever mounts them closes `listening`."""
    listening = Streams(desk) if listening is None else listening
    window = Ofrep(counter or Counter(desk), listening)
    cors = Browsers(desk)
    return [
        web.post(SINGLE, cors.wrap(window.single)),
        web.post(BULK, cors.wrap(window.bulk)),
        web.get(streams.PATH, cors.wrap(listening.serve), allow_head=False),
        *(web.options(path, cors.preflight) for path in (SINGLE, BULK, streams.PATH)),
    ]


class Ofrep:
    def __init__(self, counter: Counter, listening: Streams) -> None:
        self._counter = counter
        self._desk = counter.desk
        self._streams = listening
        self._evaluations = Evaluations()
        self._desk.rulesets.listeners.append(lambda old, new: self._evaluations.begin(new))

    async def single(self, request: web.Request) -> web.StreamResponse:
        caller = self._counter.caller(request)
        context = await read_context(request)
        key = request.match_info["key"]
        if not caller.may_see(self._desk.rulesets.current, key):
            return _json(not_found(key), status=404)
        party = (await self._counter.standing(caller, context)).build()
        ruleset = self._desk.rulesets.current  # which may be another one by now
        decision = decide(ruleset, key, party, self._desk.now())
        if decision.cause is Cause.UNKNOWN_FEATURE or not caller.may_see(ruleset, key):
            return _json(not_found(key), status=404)
        told = told_to_phones(ruleset, decision) if caller.token else decision
        return _json(item(told), status=500 if decision.cause is Cause.ERROR else 200)

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        caller = self._counter.caller(request)
        context = await read_context(request)
        if request.query_string:
            await self._catch_up(request.query, caller, context)
        standing = await self._counter.standing(caller, context)
        body, etag = self._answer(caller, context, standing)
        if matches(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers={"ETag": etag})
        return web.Response(body=body, headers={"ETag": etag, "Content-Type": "application/json"})

    async def _catch_up(self, query: Mapping[str, str], caller: Caller, context: Context) -> None:
        etag, modified = query.get("flagConfigEtag"), query.get("flagConfigLastModified")
        if etag or modified:
            await self._streams.catch_up(caller.asks_about(context), etag, modified)

    def _answer(self, caller: Caller, context: Context, standing: Standing) -> tuple[bytes, str]:
        ruleset, now = self._desk.rulesets.current, self._desk.now()
        phone = caller.token is not None
        listens = self._streams.pass_for(
            standing.subscriber, now, device=caller.token.device if caller.token else "", key=caller.key
        )
        mark = (standing.mark, context.body, listens)
        found = self._evaluations.kept(ruleset, mark)
        if found is None:
            flags = self._evaluations.flags(ruleset, standing.build(), now, phone=phone)
            body = _bulk(ruleset, flags, self._streams.advertise(listens))
            found = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._evaluations.keep(ruleset, mark, *found)
        return found


def _bulk(ruleset: Ruleset, flags: bytes, event_streams: list[dict[str, object]]) -> bytes:
    told = orjson.dumps({"eventStreams": event_streams, "metadata": {"ruleset": ruleset.version}})
    return b"".join((b'{"flags":[', flags, b"],", told[1:]))


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag, weakly compared as RFC 9110 §13.1.2 says."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header[:LONGEST_ETAGS].split(",")]
    return "*" in named or etag in named or etag.strip('"') in named


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
