"""What lets pages of other origins ask for decisions (CORS), and how refusals look to OFREP's clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import structlog
from aiohttp import web

from controlplane.base.refusal import MethodNotAllowed, Refusal
from rollout.serving.clients import AT_LEAST
from rollout.serving.ruleset import NUMBER
from rollout.serving.server import Server

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PLAIN = frozenset({400, 404, 413, 500})  # where OFREP wants application/json; elsewhere it wants nothing in particular
CORS = web.RequestKey("cors", dict[str, str])  # for a response that is sent while its handler still runs
EXPOSED = f"ETag, Retry-After, {NUMBER}"


class Failed(Refusal):
    code = "failed"
    status = 500
    title = "Something went wrong on our side. Try again in a moment"


class Browsers:
    """No cookie ever counts here, so any origin may ask, unless a list is set."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def headers(self, request: web.Request) -> dict[str, str]:
        origin = request.headers.get("Origin")
        if origin is None:
            return {}
        allowed = self._server.allowed_origins
        if not allowed:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED}
        if origin not in allowed:
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
            "Vary": "Origin",
        }

    async def preflight(self, request: web.Request) -> web.Response:
        return web.Response(
            status=204,
            headers={
                **self.headers(request),
                "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
                "Access-Control-Allow-Headers": (
                    f"Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID, {AT_LEAST}, X-API-Key"
                ),
                "Access-Control-Max-Age": "7200",
            },
        )

    def only(self, method: str) -> Handler:
        """Refuses every method but this one."""

        async def refuse(request: web.Request) -> web.StreamResponse:
            refused = problem(MethodNotAllowed(f"Ask by {method}."), request.match_info.get("key"))
            refused.headers["Allow"] = f"{method}, OPTIONS"
            return refused

        return self.wrap(refuse)

    def wrap(self, handler: Handler) -> Handler:
        """Adds the headers, also to refusals, which are problem details with OFREP's members beside them."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if headers := self.headers(request):
                request[CORS] = headers
            try:
                response = await handler(request)
            except Refusal as refusal:
                response = problem(refusal, request.match_info.get("key"))
            except web.HTTPException:
                raise
            except Exception:
                log.exception("evaluation.failed", path=request.path)
                response = problem(Failed(), request.match_info.get("key"))
            if headers and not response.prepared:
                response.headers.update(headers)
            return response

        return answer


def problem(refusal: Refusal, key: str | None) -> web.Response:
    """A refusal with OpenFeature's error code; `key` is the flag that a single evaluation asked for."""
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
    content_type = "application/json" if refusal.status in PLAIN else "application/problem+json"
    return web.Response(status=refusal.status, body=orjson.dumps(body), content_type=content_type, headers=headers)
