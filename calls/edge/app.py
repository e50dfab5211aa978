"""`manage.py edge`: the process that phones talk to. Signaling, decisions, and one base URL for everything else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

import orjson
import structlog
import uvloop
from aiohttp import web

from calls.rules.messages import FRAME_BYTES
from controlplane.base import logs
from controlplane.base.addresses import OnlyHere, is_direct, is_loopback, without_port
from controlplane.base.env import BadSetting, load
from controlplane.base.refusal import BadInput, MethodNotAllowed, NotFound, Refusal, TooLarge, TryAgain
from rollout.serving import me, ofrep
from rollout.serving.clients import Clients
from rollout.serving.streams import Streams

from .edge import Edge
from .errors import UnreadEncoding
from .rest import as_problem
from .store import StoreAway

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger("edge")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal becomes problem details here, and nowhere else."""
    try:
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnreadEncoding("Send the body as it is, without the header Content-Encoding.")
        return await handler(request)
    except Refusal as refusal:
        return as_problem(orjson.dumps(refusal.as_problem()))
    except StoreAway:
        away = TryAgain("The signaling store can't be reached. Try again in a moment.")
        return as_problem(orjson.dumps(away.as_problem()))
    except web.HTTPNotFound:
        return as_problem(orjson.dumps(NotFound("There is nothing at this address.").as_problem()))
    except web.HTTPMethodNotAllowed as error:
        refused = as_problem(orjson.dumps(MethodNotAllowed("The header Allow names the methods.").as_problem()))
        refused.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return refused
    except web.HTTPRequestEntityTooLarge:
        return as_problem(orjson.dumps(TooLarge("The body may have at most 64 KiB.").as_problem()))
    except web.RequestPayloadError:
        return as_problem(orjson.dumps(BadInput("The body can't be read: its encoding is broken.").as_problem()))
    except web.HTTPException:
        raise
    except Exception:
        log.exception("request.failed", path=request.path)
        failed = TryAgain("Something went wrong on our side. Try again in a moment.")
        return as_problem(orjson.dumps(failed.as_problem()))


@web.middleware
async def only_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A demonstration answers nobody else: it gives one-time codes to whoever asks for them."""
    if not (is_direct(request.remote or "", request.headers) and is_loopback(without_port(request.host))):
        raise OnlyHere
    return await handler(request)


def build(edge: Edge) -> web.Application:
    """The application of one edge; starting and stopping it starts and stops the edge."""
    middlewares = [problems, only_this_machine] if edge.env.demonstration else [problems]
    app = web.Application(middlewares=middlewares, client_max_size=FRAME_BYTES + 1024)
    clients = Clients(edge)
    app.add_routes([web.get("/v1/signal", edge.sockets.handle), *edge.rest.routes()])
    streams = Streams(edge)
    app.add_routes([*ofrep.routes(edge, clients, streams), *me.routes(edge, clients)])
    app.add_routes([*edge.forward.routes(), *edge.pages.routes()])

    async def started(_: web.Application) -> None:
        await edge.start()

    async def stopping(_: web.Application) -> None:
        await edge.stop()

    app.on_startup.append(started)
    app.on_shutdown.append(streams.close)
    app.on_shutdown.append(stopping)
    return app


def runner_of(edge: Edge, *, shutdown_timeout: float = 2) -> web.AppRunner:
    """Runs the application. Bodies are never unpacked: a small one could hold the event loop for long."""
    return web.AppRunner(
        build(edge),
        access_log=None,
        shutdown_timeout=shutdown_timeout,
        handler_cancellation=False,
        auto_decompress=False,
    )


async def serve(edge: Edge) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    env = edge.env
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, done.set)
    runner = runner_of(edge)
    await runner.setup()
    try:
        await web.TCPSite(runner, env.host, env.port, backlog=2048).start()
    except OSError as error:
        log.error("edge.not_started", why=f"{env.host}:{env.port} can't be used ({error.strerror}). Set PORT.")
        with contextlib.suppress(Exception):
            await runner.cleanup()
        return 1
    log.info("edge.started", name=edge.name, address=f"http://{env.host}:{env.port}")
    await done.wait()
    await runner.cleanup()
    log.info("edge.stopped", name=edge.name)
    return 0


def main(argv: Sequence[str] = ()) -> int:
    try:
        env = load()
    except BadSetting as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure("edge", json=env.log_json)

    async def run() -> int:
        return await serve(Edge(env))

    code: int = uvloop.run(run())
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
