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
from rollout.serving.clients import Client, Clients, Target
from rollout.serving.context import Context, read_context
from rollout.serving.evaluations import Evaluations, item, not_found, told_to_phones
from rollout.serving.ruleset import NUMBER
from rollout.serving.server import Server
from rollout.serving.streams import Streams

SINGLE = "/ofrep/v1/evaluate/flags/{key}"
ANY_KEY = SINGLE.replace("{key}", "{key:.*}")  # one with slashes is answered in OFREP's words too
BULK = "/ofrep/v1/evaluate/flags"
LONGEST_ETAGS = 4_096
STRANGE = {"subscriber": "unknown"}  # the targeting key is nobody's id: perhaps it is a phone number


def routes(server: Server, clients: Clients | None = None, listening: Streams | None = None) -> list[web.RouteDef]:
    """The routes to mount; `clients` may be shared with `me.py`. Whoever mounts them closes `listening`."""
    listening = Streams(server) if listening is None else listening
    views = Ofrep(clients or Clients(server), listening)
    cors = Browsers(server)
    paths = (ANY_KEY, BULK, streams.PATH)
    return [
        web.post(ANY_KEY, cors.wrap(views.single)),
        web.post(BULK, cors.wrap(views.bulk)),
        web.get(streams.PATH, cors.wrap(listening.serve), allow_head=False),
        *(web.options(path, cors.preflight) for path in paths),
        *(web.route("*", path, cors.only("POST")) for path in (ANY_KEY, BULK)),
        web.route("*", streams.PATH, cors.only("GET")),
    ]


class Ofrep:
    def __init__(self, clients: Clients, listening: Streams) -> None:
        self._clients = clients
        self._server = clients.server
        self._streams = listening
        self._evaluations = Evaluations()
        self._server.rulesets.listeners.append(lambda old, new: self._evaluations.begin(new))

    async def single(self, request: web.Request) -> web.StreamResponse:
        client = self._clients.client(request)
        await self._clients.await_ruleset(request)
        context = await read_context(request)
        key = request.match_info["key"]
        ruleset = self._server.rulesets.current
        if not client.may_see(ruleset, key):
            return _json(ruleset, not_found(key), status=404)
        target = await self._clients.target(client, context)
        ruleset = self._server.rulesets.current  # which may be another one by now
        decision = decide(ruleset, key, target.build(), self._server.now())
        if decision.cause is Cause.UNKNOWN_FEATURE or not client.may_see(ruleset, key):
            return _json(ruleset, not_found(key), status=404)
        told = item(told_to_phones(ruleset, decision) if client.token else decision)
        if target.strange and "metadata" in told:
            told["metadata"] |= STRANGE
        return _json(ruleset, told, status=500 if decision.cause is Cause.ERROR else 200)

    async def bulk(self, request: web.Request) -> web.StreamResponse:
        client = self._clients.client(request)
        await self._clients.await_ruleset(request)
        context = await read_context(request)
        if request.query_string:
            await self._catch_up(request.query, client, context)
        target = await self._clients.target(client, context)
        headers = {NUMBER: str(self._server.rulesets.current.version)}
        body, etag = self._answer(client, context, target)
        headers["ETag"] = etag
        if matches(request.headers.get("If-None-Match"), etag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "application/json"
        return web.Response(body=body, headers=headers)

    async def _catch_up(self, query: Mapping[str, str], client: Client, context: Context) -> None:
        etag, modified = query.get("flagConfigEtag"), query.get("flagConfigLastModified")
        if etag or modified:
            await self._streams.catch_up(client.asks_about(context), etag, modified)

    def _answer(self, client: Client, context: Context, target: Target) -> tuple[bytes, str]:
        ruleset, now = self._server.rulesets.current, self._server.now()
        phone = client.token is not None
        listens = self._streams.pass_for(target.subscriber, now, token=client.token, key=client.key)
        mark = (target.mark, context.body, listens)
        found = self._evaluations.kept(ruleset, mark)
        if found is None:
            flags = self._evaluations.flags(ruleset, target.build(), now, phone=phone)
            metadata = {"ruleset": ruleset.version, **(STRANGE if target.strange else {})}
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
