"""The processes that the supervisor runs, how each starts, and how one knows that it works."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controlplane.base.env import ROOT, Env
from controlplane.base.locations import loopback, probe_name
from controlplane.host.child import StartTrouble
from controlplane.host.embedded import Embedded
from controlplane.host.runtime import Runtime
from controlplane.host.server import Server

SETTLED = 1.5  # seconds after which a process without a readiness address counts as running


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. `why` explains an end during the start, where the program can tell."""

    name: str
    start: Callable[[], Server]
    is_ready: Callable[[Server, float], bool]
    stop_signal: int = signal.SIGTERM
    why: Callable[[Server], StartTrouble] | None = None


def ask_ready(env: Env, port: int) -> tuple[bool, str]:
    """Whether GET /readyz answers 200 there, within half a second, and what it says otherwise."""
    question = f"GET /readyz HTTP/1.1\r\nHost: {probe_name(env)}\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((loopback(env.host), port), timeout=0.5) as connection:
            connection.sendall(question.encode())
            while len(answer) < 4096 and (piece := connection.recv(4096)):
                answer += piece
    except OSError as error:
        return False, "" if not answer else str(error)
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return " 200 " in head.split("\r\n")[0], " ".join(body.split())[:300]


def _settled(server: Server, age: float) -> bool:
    return age >= SETTLED


def store_programs(env: Env, embedded: Embedded) -> list[Program]:
    """The embedded servers that this deployment needs."""
    programs = []
    if not env.database_url:
        cluster = embedded.cluster()
        programs.append(
            Program(
                "postgres",
                cluster.launch,
                lambda server, age: cluster.is_ready(server),
                signal.SIGINT,
                cluster.why_it_ended,
            )
        )
    if not env.redis_url:
        programs.append(Program("redis", embedded.launch_redis, lambda server, age: embedded.redis_is_ready()))
    return programs


def _celery(queue: str) -> list[str]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [
        "-m",
        "celery",
        "--quiet",
        "-A",
        "controlplane.celery:app",
        "worker",
        "-Q",
        queue,
        "-P",
        "solo",
        "-n",
        f"{queue}@%h",
        *quiet,
    ]


def own_programs(runtime: Runtime) -> list[Program]:
    """web, edge, worker, bulk and beat."""
    env = runtime.env
    granian = ["-m", "granian", "--interface", "wsgi", "controlplane.wsgi:application", "--no-access-log"]
    granian += ["--host", env.host, "--port", str(env.console_port), "--workers", "1", "--blocking-threads", "4"]
    granian += ["--runtime-threads", "1", "--log-level", "warning"]
    schedule = ["--scheduler", "controlplane.beat:Scheduler", "--pidfile="]

    def web_is_ready(server: Server, age: float) -> bool:
        return ask_ready(env, env.console_port)[0]

    def edge_is_ready(server: Server, age: float) -> bool:
        return ask_ready(env, env.port)[0]

    def program(name: str, arguments: list[str], is_ready: Callable[[Server, float], bool] = _settled) -> Program:
        return Program(name, lambda: runtime.start(name, arguments), is_ready)

    return [
        program("web", granian, web_is_ready),
        program("edge", ["manage.py", "edge"], edge_is_ready),
        program("worker", _celery("ticks")),
        program("bulk", _celery("bulk")),
        program("beat", ["-m", "celery", "--quiet", "-A", "controlplane.beat:app", "beat", *schedule]),
    ]


def require_free_port(variable: str, host: str, port: int) -> None:
    """Raises `StartTrouble` naming the variable when something else listens on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if os.geteuid() == 0 and port < _lowest_port():  # root may listen there, and those whom it starts may not
                raise PermissionError(errno.EACCES, "reserved")
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                why = f"Port {port} on {host} is taken by another program. Stop it, or choose another: {variable}=…"
                raise StartTrouble("port_taken", why.replace("…", str(_free_port(host, port)))) from error
            if error.errno == errno.EACCES:
                why = f"No permission to listen on port {port}. Choose one above 1023: {variable}={port + 8000}"
                raise StartTrouble("port_forbidden", why) from error
            why = f"Rollcall can't listen on {host} port {port} ({error.strerror}). Mend ROLLCALL_HOST or {variable}."
            raise StartTrouble("port", why) from error


def _lowest_port() -> int:
    """The lowest port that an ordinary user may listen on."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024


def _free_port(host: str, taken: int) -> int:
    """A port near the taken one that is free now, as a proposal."""
    for candidate in range(taken + 10, min(taken + 500, 65535), 10):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    return taken + 1


def has_command(name: str) -> bool:
    """Whether some application brings this management command."""
    return any(path.parent.name == "commands" for path in Path(ROOT).glob(f"*/**/management/commands/{name}.py"))
