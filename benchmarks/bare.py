"""The peer of `ofrep`: aiohttp that answers the same number of bytes, with nothing behind it. It prints its port."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


async def serve(size: int) -> None:
    body = b"x" * size

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, headers={"ETag": '"same"', "Content-Type": "application/json"})

    app = web.Application()
    app.add_routes([web.post("/ofrep/v1/evaluate/flags", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    print(site._server.sockets[0].getsockname()[1], flush=True)  # type: ignore[attr-defined]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
