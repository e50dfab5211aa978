"""Hands registration, tokens and profiles on to web, so that phones need one base URL. Cookies stop here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import unquote

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, web
from yarl import URL

from calls.rules.messages import FRAME_BYTES
from controlplane.base.addresses import Network, client_address
from controlplane.base.refusal import NotFound, TooLarge, TryAgain

from .limits import FORWARD, Limits

PASSED_ON = ("Authorization", "Content-Type", "Accept", "Accept-Language", "Idempotency-Key", "User-Agent")
PASSED_BACK = ("Content-Type", "Retry-After", "Location", "ETag", "Cache-Control")
SECONDS = 10.0
DOUBT_SECONDS = 60.0
PATHS = (
    r"/v1/{path:registration(?:/.*)?}",
    r"/v1/{path:tokens/.*}",
    r"/v1/{path:device-list}",
    r"/v1/{path:me}",
    r"/v1/{path:me/.*}",
)
log = structlog.get_logger("edge")


class Forward:
    """`host` is a name by which web lets itself be asked; `trusted` are the proxies in front of the edge.

    `mark` proves to web that the edge says which address a request came from.
    """

    def __init__(
        self, target: str, limits: Limits, *, host: str, trusted: Sequence[Network], mark: Callable[[str], str]
    ) -> None:
        self.target = target
        self.limits = limits
        self.host = host
        self.trusted = trusted
        self.mark = mark
        self._failed_at: float | None = None
        self._session: ClientSession | None = None

    @property
    def reachable(self) -> bool:
        """Whether web answered lately, whatever it said: while it doesn't, phones can't refresh their tokens."""
        return self._failed_at is None or time.monotonic() - self._failed_at > DOUBT_SECONDS

    def routes(self) -> list[web.RouteDef]:
        return [web.route("*", path, self.handle) for path in PATHS]

    async def open(self) -> None:
        self._session = ClientSession(
            timeout=ClientTimeout(total=SECONDS, connect=2), cookie_jar=DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.Request) -> web.Response:
        """The answer of web, with what a phone may see of it. Raises `TryAgain` when there is none."""
        assert self._session is not None
        target = self._address(request)
        client = client_address(
            request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", ())), self.trusted
        )
        await self.limits.spend(FORWARD, client)
        if (request.content_length or 0) > FRAME_BYTES:
            raise TooLarge("The body may have at most 64 KiB.")
        body = await request.read()
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        headers["Host"] = self.host
        headers["X-Forwarded-For"] = client
        headers["X-Rollcall-Edge"] = self.mark(client)
        headers["X-Forwarded-Proto"] = request.scheme
        try:
            async with self._session.request(
                request.method, target, data=body, headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
        except (TimeoutError, ClientError, OSError) as error:
            self._failed_at = time.monotonic()
            log.warning("web.unreachable", why=type(error).__name__)
            raise TryAgain("Accounts can't be reached right now. Try again in a moment.") from error
        self._failed_at = None
        back = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
        return web.Response(body=content, status=answer.status, headers=back)

    def _address(self, request: web.Request) -> URL:
        """The same path and query on web, untouched. Raises `NotFound` for one that climbs out of the phones' part."""
        path = unquote(request.rel_url.raw_path).replace("\\", "/")
        if {".", ".."} & set(path.split("/")):
            raise NotFound("There is nothing at this address.")
        return URL(f"{self.target}{request.rel_url.raw_path_qs}", encoded=True)
