"""The edge's part of the OpenAPI document: its addresses, with the types that it reads and answers with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, json

from calls.rules import answers
from calls.rules.messages import EVENTS, REQUESTS, Ack, Hello, NewToken
from controlplane.api.document import PHONES_PORT
from controlplane.api.examples import EDGE_BODIES, PLACES
from rollout.serving import bodies
from rollout.serving.clients import AT_LEAST
from rollout.serving.ruleset import NUMBER

Json = dict[str, Any]
TAGS = {
    "ofrep": "Flags for phones and backends, as OFREP 0.3.0 says",
    "calling": "Placing and answering calls without a socket",
    "signaling": "The phones' socket; docs/protocol.md says how its messages follow each other",
}
FRAMES = (Hello, Ack, NewToken)
MESSAGES = (*FRAMES, *REQUESTS.values(), *EVENTS.values())
SIGNAL = bodies.REFERENCE.replace("{name}", "Signal{name}")
PHONE: Sequence[Json] = ({"phoneToken": []},)
PHONE_OR_KEY: Sequence[Json] = (*PHONE, {"apiKey": []})
PROBLEM = {"$ref": bodies.REFERENCE.format(name="Problem")}
REFUSED = {
    "description": "Refused; nothing was changed",
    "content": {"application/problem+json": {"schema": PROBLEM}},
}
ANSWERS: Mapping[str, type[Struct]] = {"prepare": answers.Prepared, "relay": answers.Nothing}


def with_edge(result: Json, **_: Any) -> Json:
    """The document with the edge's addresses; drf-spectacular calls this on the finished one."""
    schemas, added = result["components"]["schemas"], _components()
    if twice := added.keys() & schemas.keys():
        raise ValueError(f"Two schemas are called {', '.join(sorted(twice))}: rename one.")
    schemas |= added
    result["paths"] |= _flags() | _moves(added) | _looks()
    result["tags"] += [{"name": name, "description": words} for name, words in TAGS.items()]
    return result


def _components() -> dict[str, Json]:
    declared = [each for module in (answers, bodies) for each in vars(module).values() if isinstance(each, type)]
    told = [each for each in declared if issubclass(each, Struct) and each is not Struct]
    found = json.schema_components(told, ref_template=bodies.REFERENCE)[1]
    sent = json.schema_components(MESSAGES, ref_template=SIGNAL)[1]
    return {**found, **{f"Signal{name}": schema for name, schema in sent.items()}}


def _flags() -> dict[str, Json]:
    """OFREP, and what a phone's owner has."""
    no_older = _parameter("header", AT_LEAST, "No older ruleset decides: 503 when it doesn't come in time", "integer")
    known = _parameter("header", "If-None-Match", "The ETag of an earlier answer: 304 when it still holds")
    told = _parameter("query", "flagConfigEtag", "`etag` of the event that asks for this: waited for until it is known")
    when = _parameter("query", "flagConfigLastModified", "`lastModified` of that event", "integer")
    asked: Json = {"body": _ref(bodies.EvaluationRequest), "security": PHONE_OR_KEY}
    flag, flags = "/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags"
    key = _parameter("path", "key", "the feature's key")
    one = _operation(
        "ofrep", "evaluate_flag", "Evaluate one flag", bodies.Evaluation, parameters=[key, no_older], **asked
    )
    every = _operation(
        *("ofrep", "evaluate_flags", "Evaluate every flag that the asker may see", bodies.Evaluations),
        parameters=[known, told, when, no_older],
        **asked,
    )
    failed = {"description": "Failed: the client's default counts", "content": _json(_ref(bodies.EvaluationFailure))}
    one["responses"] |= dict.fromkeys(("400", "404", "413", "500"), failed)
    every["responses"] |= {"304": {"description": "As before"}} | dict.fromkeys(("400", "413", "500"), failed)
    ticket = _parameter("query", "token", "As the address in `eventStreams` bears it", required=True)
    listen = _operation("ofrep", "listen", "Hear when to evaluate again", None, parameters=[ticket], security=())
    listen["responses"]["200"] = {
        "description": "Server-sent events; the data of each is a Refetch",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    mine = _operation(
        *("phones", "my_features", "What the phone's owner has, why, and what they could do next", bodies.MyFeatures),
        parameters=[no_older],
    )
    for operation in (one, every, mine):
        number = {"description": "The number of the ruleset that decided", "schema": {"type": "integer"}}
        operation["responses"]["200"]["headers"] = {NUMBER: number}
    return {
        flags: {"post": every},
        flag: {"post": one},
        "/ofrep/v1/events": {"get": listen},
        "/v1/me/features": {"get": mine},
    }


def _moves(schemas: Mapping[str, Json]) -> dict[str, Json]:
    """What a phone asks of a call: the bodies are those of the socket's requests, but for the call in the address."""
    once = _parameter("header", "Idempotency-Key", "Sent again, the request acts once and gets the same answer")
    paths: dict[str, Json] = {}
    for name, request in REQUESTS.items():
        path = {"prepare": "/v1/calls/prepare", "invite": "/v1/calls"}.get(name, f"/v1/calls/{{call}}/{name}")
        body, parameters = schemas[f"Signal{request.__name__}"], [once]
        if "{call}" in path:
            parameters = [_parameter("path", "call", "the call"), once]
            needed = [field for field in body["required"] if field != "call"]
            others = {field: kind for field, kind in body["properties"].items() if field != "call"}
            body = {"type": "object", "properties": others, "required": needed}
        else:
            body = {"$ref": SIGNAL.format(name=request.__name__)}
        operation = _operation(
            *("calling", f"{name}_call", request.__doc__ or "", ANSWERS.get(name, answers.Moved)),
            status=201 if name == "invite" else 200,
            body=body if body.get("properties", True) else None,
            parameters=parameters,
        )
        operation["description"] += f" Refusals: {', '.join(f'`{code}`' for code in request.refusals)}."
        paths[path] = {"post": operation}
    return paths


def _looks() -> dict[str, Json]:
    """What else there is about calls, and the socket."""
    call = _parameter("path", "call", "the call")
    state = _operation("calling", "call_state", "How a call stands", answers.CallState, parameters=[call])
    turn = _operation("calling", "call_relays", "Fresh relays for a live call", answers.IceServers, parameters=[call])
    after = _parameter("query", "after", "The highest event number that was handled", "integer")
    wait = _parameter("query", "wait", "Seconds to wait for the first event, at most 25", "number")
    epoch = _parameter("query", "epoch", "As the last answer said; another one makes `after` count as 0")
    inbox = _operation(
        *("calling", "inbox", "Wait for what happens to this device", answers.Inbox), parameters=[after, wait, epoch]
    )
    ack = _operation(
        *("calling", "acknowledge", Ack.__doc__ or "", None), status=204, body={"$ref": SIGNAL.format(name="Ack")}
    )
    socket = _operation("signaling", "signal", "Open the phones' WebSocket", None, status=101, security=())
    frames, requests, events = (
        ", ".join(f"`Signal{each.__name__}`" for each in messages)
        for messages in (FRAMES, REQUESTS.values(), EVENTS.values())
    )
    socket["description"] = (
        f"Each frame is one JSON object in text. A phone sends, named in `k` (hello, ack, token), {frames}, and with"
        f" `k` = `req`, an `id` and the name in `t`, {requests}. It gets, with `k` = `ev`, a `seq` and the name in `t`,"
        f" {events}."
    )
    return {
        "/v1/calls/inbox": {"get": inbox},
        "/v1/calls/inbox/ack": {"post": ack},
        "/v1/calls/{call}": {"get": state},
        "/v1/calls/{call}/turn": {"get": turn},
        "/v1/signal": {"get": socket},
    }


def _operation(
    tag: str,
    id: str,
    words: str,
    answer: type[Struct] | None,
    *,
    status: int = 200,
    body: Json | None = None,
    parameters: Sequence[Json] = (),
    security: Sequence[Json] = PHONE,
) -> Json:
    good = {"description": "Done"} | ({"content": _json(_ref(answer))} if answer else {})
    asked = {}
    if body:
        content = {"application/json": {"schema": body, "example": EDGE_BODIES[id]}}
        asked["requestBody"] = {"required": bool(body.get("required", True)), "content": content}
    return {
        "operationId": id,
        "summary": words.partition(". ")[0].rstrip("."),
        "description": words,
        "tags": [tag],
        "parameters": list(parameters),
        **asked,
        "security": list(security),
        "responses": {str(status): good, "default": REFUSED},
        "servers": [PHONES_PORT],
    }


def _parameter(place: str, name: str, words: str, kind: str = "string", *, required: bool = False) -> Json:
    parameter: Json = {"name": name, "in": place, "description": words, "schema": {"type": kind}}
    if place == "path":
        parameter["example"] = PLACES[name]
    return {**parameter, "required": True} if required or place == "path" else parameter


def _ref(kind: type[Struct]) -> Json:
    return {"$ref": bodies.REFERENCE.format(name=kind.__name__)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
