"""OFREP 0.3.0: single and bulk evaluation, for phones (their own access token) and backends (an API key).

Decisions come from memory. The ETag is a hash of the answer's bytes, so it changes with the context and the grants too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from rollout.rules.decision.decision import Cause, Ruleset, decide
from rollout.serving import streams
from rollout.serving.browsers import Browsers
from rollout.serving.context import Context, read_context
from rollout.serving.desk import Caller, Counter, Desk, Standing
from rollout.serving.evaluations import Evaluations, item, not_found, told_to_phones
from rollout.serving.ruleset import NUMBER
from rollout.serving.streams import Streams

SINGLE = "/ofrep/v1/evaluate/flags/{key}"
ANY_KEY = SINGLE.replace("{key}", "{key:.*}")  # one with slashes is answered in OFREP's words too
BULK = "/ofrep/v1/evaluate/flags"
LONGEST_ETAGS = 4_096
STRANGE = {"subscriber": "unknown"}  # the targeting key is nobody's id: perhaps it is a phone number


def routes(desk: Desk, counter: Counter | None = None, listening: Streams | None = None) -> list[web.RouteDef]:
    """The routes to mount; `counter` may be shared with `me.py`. Whoever mounts them closes `listening`."""
    listening = Streams(desk) if listening is None else listening
    window = Ofrep(counter or Counter(desk), listening)
    cors = Browsers(desk)
    paths = (ANY_KEY, BULK, streams.PATH)
    return [
        web.post(ANY_KEY, cors.wrap(window.single)),
        web.post(BULK, cors.wrap(window.bulk)),
        web.get(streams.PATH, cors.wrap(listening.serve), allow_head=False),
        *(web.options(path, cors.preflight) for path in paths),
        *(web.route("*", path, cors.only("POST")) for path in (ANY_KEY, BULK)),
        web.route("*", streams.PATH, cors.only("GET")),
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
        await self._counter.reach(request)
        context = await read_context(request)
        key = request.match_info["key"]
        ruleset = self._desk.rulesets.current
        if not caller.may_see(ruleset, key):
            return _json(ruleset, not_found(key), status=404)
        standing = await self._counter.standing(caller, context)
        ruleset = self._desk.rulesets.current  # which may be another one by now
        decision = decide(ruleset, key, standing.build(), self._desk.now())
        if decision.cause is Cause.UNKNOWN_FEATURE or not caller.may_see(ruleset, key):
            return _json(ruleset, not_found(key), status=404)
        told = item(told_to_phones(ruleset, decision) if caller.token else decision)
        if standing.strange and "metadata" in told:
            told["metadata"] |= STRANGE
        return _json(ruleset, told, status=500 if decision.cause is Cause.ERROR else 200)

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        caller = self._counter.caller(request)
        await self._counter.reach(request)
        context = await read_context(request)
        if request.query_string:
            await self._catch_up(request.query, caller, context)
        standing = await self._counter.standing(caller, context)
        headers = {NUMBER: str(self._desk.rulesets.current.version)}
        body, etag = self._answer(caller, context, standing)
        headers["ETag"] = etag
        if matches(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "application/json"
        return web.Response(body=body, headers=headers)

    async def _catch_up(self, query: Mapping[str, str], caller: Caller, context: Context) -> None:
        etag, modified = query.get("flagConfigEtag"), query.get("flagConfigLastModified")
        if etag or modified:
            await self._streams.catch_up(caller.asks_about(context), etag, modified)

    def _answer(self, caller: Caller, context: Context, standing: Standing) -> tuple[bytes, str]:
        ruleset, now = self._desk.rulesets.current, self._desk.now()
        phone = caller.token is not None
        listens = self._streams.pass_for(standing.subscriber, now, token=caller.token, key=caller.key)
        mark = (standing.mark, context.body, listens)
        found = self._evaluations.kept(ruleset, mark)
        if found is None:
            flags = self._evaluations.flags(ruleset, standing.build(), now, phone=phone)
            metadata = {"ruleset": ruleset.version, **(STRANGE if standing.strange else {})}
            body = _bulk(flags, {"eventStreams": self._streams.advertise(listens), "metadata": metadata})
            found = body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'
            self._evaluations.keep(ruleset, mark, *found)
        return found


def _bulk(flags: bytes, beside: Mapping[str, Any]) -> bytes:
    return b"".join((b'{"flags":[', flags, b"],", orjson.dumps(beside)[1:]))


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag, weakly compared as RFC 9110 §13.1.2 says."""
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header[:LONGEST_ETAGS].split(",")]
    return "*" in named or etag in named or etag.strip('"') in named


def _json(ruleset: Ruleset, body: Mapping[str, Any], status: int = 200) -> web.Response:
    headers = {NUMBER: str(ruleset.version), "Content-Type": "application/json"}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)
