"""`GET /v1/me/features`: what a phone's owner has, why, and what they could do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from controlplane.base.refusal import NotAuthenticated, TryAgain
from rollout.rules.decision.decision import Decision, Ruleset, decide
from rollout.rules.decision.words import say
from rollout.serving.browsers import Browsers
from rollout.serving.clients import Client, Clients
from rollout.serving.context import NO_CONTEXT
from rollout.serving.evaluations import told_to_phones
from rollout.serving.ruleset import NUMBER
from rollout.serving.server import Server

PATH = "/v1/me/features"


def routes(server: Server, clients: Clients | None = None) -> list[web.RouteDef]:
    """The routes to mount; `clients` may be shared with `rollout.serving.ofrep`."""
    shared = clients or Clients(server)
    cors = Browsers(server)

    async def features(request: web.Request) -> web.StreamResponse:
        client = shared.client(request)
        if client.token is None:
            raise NotAuthenticated("Send a phone's access token: this tells the bearer what they have.")
        await shared.await_ruleset(request)
        told = await _features(shared, client)
        headers = {NUMBER: str(told["ruleset"]), "Content-Type": "application/json"}
        return web.Response(body=orjson.dumps(told), headers=headers)

    return [
        web.get(PATH, cors.wrap(features)),
        web.options(PATH, cors.preflight),
        web.route("*", PATH, cors.only("GET")),
    ]


async def _features(clients: Clients, client: Client) -> dict[str, Any]:
    party = (await clients.target(client, NO_CONTEXT)).build()
    server = clients.server
    ruleset, now = server.rulesets.current, server.now()
    decisions = [
        told_to_phones(ruleset, decide(ruleset, key, party, now))
        for key in ruleset.features
        if client.may_see(ruleset, key)
    ]
    inviting = [d.feature for d in decisions if d.feature in party.grants and _window_open(ruleset, d.feature)]
    left: Mapping[str, Any] | None = {}
    if inviting:
        try:
            left = await clients.invites(party.subscriber)
        except TryAgain:
            left = None  # the decision stands without it
    return {
        "features": [_row(d, _invites(ruleset, d, left) if d.feature in party.grants else None) for d in decisions],
        "ruleset": ruleset.version,
        "server_time": int(now.timestamp() * 1000),
    }


def _window_open(ruleset: Ruleset, feature: str) -> bool:
    return ruleset.features[feature].feature.windows_open


def _row(decision: Decision, invites: dict[str, Any] | None) -> dict[str, Any]:
    detail = decision.detail
    return {
        "key": decision.feature,
        "value": decision.value,
        "variant": decision.variant,
        "enabled": decision.enabled,
        "reason": str(decision.reason),
        "cause": str(decision.cause),
        "words": say(decision),
        "standing": {
            name: detail[name] for name in ("wave", "wave_position", "wave_state", "invite") if name in detail
        },
        "invites": invites,
    }


def _invites(ruleset: Ruleset, decision: Decision, left: Mapping[str, Any] | None) -> dict[str, Any]:
    """How many people this person may still bring in. `left` is None when PostgreSQL could not be asked."""
    if not _window_open(ruleset, decision.feature):
        return {"left": 0, "next_at": None, "words": "Inviting is closed for now: it opens again in another window."}
    if left is None:
        return {"left": None, "next_at": None, "words": "How many invites are left can't be told right now."}
    row = left.get(decision.feature)
    if row is None:
        return {"left": 0, "next_at": None, "words": "Inviting is open, but not where you are."}
    if row["frozen"]:
        return {"left": 0, "next_at": None, "words": "You can call, but not bring others in at the moment."}
    if not row["depth_ok"]:
        return {"left": 0, "next_at": None, "words": "Only those who had it first can bring others in this time."}
    count = int(row["left"])
    if count == 0:
        words = "You have used all of your invites for this time."
    else:
        words = f"Call somebody who doesn't have it: {count} more {'person' if count == 1 else 'people'} can join."
    return {"left": count, "quota": row["quota"], "next_at": None, "closes_at": row["closes_at"], "words": words}
