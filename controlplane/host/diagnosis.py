"""What `manage.py doctor` looks at. Each look gives findings: how it is, in a sentence, and what to do if it is bad."""

from __future__ import annotations

import importlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import psycopg
import redis
from django.core.checks import run_checks
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Min

from controlplane.actions import functions
from controlplane.api.health import heartbeat_ages
from controlplane.base import locations, stores
from controlplane.base.env import Env
from controlplane.celery import HEARTBEAT_STALE_SECONDS
from controlplane.checks import check_owner
from controlplane.host import datafolder, server
from controlplane.host.child import StartTrouble, system_account
from controlplane.host.processes import ask, with_memory
from controlplane.host.programs import ask_ready, require_free_port
from rollout.models import Area

NATIVE = ("nacl.bindings", "re2", "mmh3", "orjson", "uvloop", "psycopg", "granian", "av", "pylibsrtp", "cryptography")
LEAST_FREE = 200e6  # bytes; below, PostgreSQL is about to stop
LITTLE_FREE = 2e9
SKEW_BAD = 5.0  # seconds; tokens and windows go by the clock
SKEW_POOR = 1.0
MEMORY_BUDGET = 700e6  # bytes for the whole idle stack


class Level(StrEnum):
    GOOD = "good"
    POOR = "poor"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    level: Level
    words: str


def python(env: Env) -> Iterator[Finding]:
    words = f"Python {platform.python_version()} on {platform.machine()}"
    if sys.version_info < (3, 11):  # noqa: UP036 (the point is to say so)
        yield Finding("python", Level.BAD, f"{words}: Rollcall needs 3.11 or later. Install it and delete .venv.")
    else:
        yield Finding("python", Level.GOOD, f"{words}.")


def native(env: Env) -> Iterator[Finding]:
    broken = []
    for name in NATIVE:
        try:
            importlib.import_module(name)
        except ImportError as error:
            broken.append(f"{name} ({error})")
    if broken:
        words = f"These packages don't load: {'; '.join(broken)}. Install the library that is named, or delete .venv."
        yield Finding("native libraries", Level.BAD, words)
    else:
        yield Finding("native libraries", Level.GOOD, f"All {len(NATIVE)} native packages load.")
    try:
        if not env.database_url:
            server.require_runs(server.postgres_program("postgres", system_account()), system_account(), env.data)
        if not env.redis_url:
            server.require_runs(server.redis_program(system_account()), system_account(), env.data)
    except StartTrouble as trouble:
        yield Finding("embedded servers", Level.BAD, trouble.detail)


def database(env: Env) -> Iterator[Finding]:
    url = locations.database_url(env)
    state = stores.check_database(url)
    if state.trouble:
        words = state.trouble if env.database_url else f"{state.trouble} The embedded one runs while 'make run' does."
        yield Finding("postgresql", Level.BAD, words)
        return
    yield Finding("postgresql", Level.GOOD, f"PostgreSQL {state.version} answers, and commits synchronously.")
    yield from _migrations()
    for message in check_owner(None, databases=["default"]):
        yield Finding("audit's owner", Level.POOR, f"{message.msg} {message.hint}")
    yield _skew(url)


def _migrations() -> Iterator[Finding]:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except Error as error:
        yield Finding(
            "migrations", Level.BAD, f"The migrations can't be read: {error}. Mend the database's permissions."
        )
        return
    if missing:
        names = ", ".join(f"{step.app_label}.{step.name}" for step, _ in missing[:5])
        words = f"{len(missing)} migrations aren't applied ({names}…). Run 'manage.py migrate'."
        yield Finding("migrations", Level.BAD, words)
    elif stale := functions.stale():
        words = f"SQL functions differ from this version: {', '.join(stale)}. Run 'manage.py migrate'."
        yield Finding("migrations", Level.BAD, words)
    else:
        yield Finding("migrations", Level.GOOD, "All migrations are applied, and all SQL functions are this version's.")


def _skew(url: str) -> Finding:
    with psycopg.connect(url, connect_timeout=5) as link:
        link.execute("SELECT 1")
        before = time.time()
        row = link.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        after = time.time()
    skew = abs(float(row[0]) - (before + after) / 2) if row else 0.0
    if skew >= SKEW_POOR:
        words = f"This machine's clock and the database's differ by {skew:.1f} s. Run NTP (chrony) on both."
        return Finding("clock", Level.BAD if skew >= SKEW_BAD else Level.POOR, words)
    return Finding(
        "clock", Level.GOOD, f"This machine's clock and the database's agree within {max(skew, 0.001):.3f} s."
    )


def redis_store(env: Env) -> Iterator[Finding]:
    state = stores.check_redis(locations.redis_url(env))
    if state.trouble:
        words = state.trouble if env.redis_url else f"{state.trouble} The embedded one runs while 'make run' does."
        yield Finding("redis", Level.BAD, words)
        return
    yield Finding("redis", Level.GOOD, f"Redis {state.version} answers.")
    for queue, age in heartbeat_ages().items():
        name = f"worker {queue}"
        if age is None or age > HEARTBEAT_STALE_SECONDS:
            since = "no sign of life" if age is None else f"the last sign of life is {age:.0f} s old"
            words = (
                f"Beat or the worker of queue {queue} doesn't run: {since}. Start both; activations wait until then."
            )
            yield Finding(name, Level.BAD, words)
        else:
            yield Finding(
                name, Level.GOOD, f"Beat and the worker of queue {queue} gave a sign of life {age:.0f} s ago."
            )
    yield _edges(locations.redis_url(env), _patience())


def _patience() -> float:
    """Seconds of silence after which the first area holds."""
    default: float = Area._meta.get_field("stale_seconds").default
    try:
        return Area.objects.aggregate(least=Min("stale_seconds"))["least"] or default
    except Error:
        return default


def _edges(url: str, patience: float) -> Finding:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            found: dict[bytes, bytes] = client.hgetall("rc:edges")
        fresh = [name for name, about in found.items() if time.time() - json.loads(about)["at"] / 1000 < patience]
    except (redis.exceptions.RedisError, ValueError, KeyError, TypeError):
        fresh = []
    if fresh:
        return Finding("edges", Level.GOOD, f"{len(fresh)} edge{'' if len(fresh) == 1 else 's'} reported load lately.")
    words = (
        f"No edge has reported its load for {patience:g} s, so capacity is unknown and activations hold. "
        "Start 'manage.py edge'."
    )
    return Finding("edges", Level.BAD, words)


def ports(env: Env) -> Iterator[Finding]:
    for name, variable, port in (("edge", "PORT", env.port), ("web", "CONSOLE_PORT", env.console_port)):
        ready, said = ask_ready(env, port)
        if ready:
            yield Finding(f"port {port}", Level.GOOD, f"The {name} answers on port {port}, and is ready.")
        elif said:
            yield Finding(f"port {port}", Level.BAD, f"The {name} on port {port} isn't ready. It says: {said}")
        else:
            yield _port(env, name, variable, port)


def _port(env: Env, name: str, variable: str, port: int) -> Finding:
    try:
        require_free_port(variable, env.host, port)
    except StartTrouble as trouble:
        return Finding(f"port {port}", Level.BAD, f"{trouble.detail} (The {name} should answer /readyz there.)")
    return Finding(f"port {port}", Level.POOR, f"The {name} doesn't run: port {port} is free. 'make run' starts it.")


def settings(env: Env) -> Iterator[Finding]:
    """Deploy mistakes. In a demonstration, those that only matter to a deployment are left out."""
    messages = run_checks(include_deployment_checks=not env.demonstration)
    for message in messages:
        level = Level.BAD if message.is_serious() else Level.POOR
        yield Finding(f"settings {message.id}", level, f"{message.msg} {message.hint or ''}".strip())
    if not any(message.is_serious() for message in messages):
        kind = "a demonstration" if env.demonstration else "a deployment"
        yield Finding("settings", Level.GOOD, f"No serious mistake for {kind}; the master secret is there.")
    if env.demonstration and not env.turn_urls:
        words = "No relay (TURN_URLS) is set: good enough on one machine; phones elsewhere may not reach each other."
        yield Finding("relay", Level.POOR, words)
    elif env.turn_urls:
        yield Finding("relay", Level.GOOD, f"{len(env.turn_urls)} relay addresses are set.")


def disk(env: Env) -> Iterator[Finding]:
    free = shutil.disk_usage(env.data).free
    words = f"{free / 1e9:.1f} GB are free for {env.data}."
    if free < LITTLE_FREE:
        yield Finding("disk", Level.BAD if free < LEAST_FREE else Level.POOR, f"{words} Make room.")
    else:
        yield Finding("disk", Level.GOOD, words)


LOOKS: tuple[Callable[[Env], Iterator[Finding]], ...] = (
    python,
    native,
    disk,
    settings,
    database,
    redis_store,
    ports,
)


def running(env: Env) -> Env:
    """`env` with the ports of the stack that runs on the data folder; as it is where none does."""
    try:
        answer = ask(env.data, "list")
    except OSError:
        return env
    if answer is None or "port" not in answer:
        return env
    return replace(env, host=answer["host"], port=answer["port"], console_port=answer["console_port"])


def diagnose(env: Env) -> list[Finding]:
    return [finding for look in LOOKS for finding in look(env)]


def memory(env: Env) -> dict[str, Any] | None:
    """The supervisor's processes with their memory; None when it doesn't run here."""
    try:
        answer = ask(env.data, "list")
    except OSError:
        return None
    return with_memory(answer) if answer and datafolder.is_held(env.data) else None


def memory_finding(found: dict[str, Any]) -> Finding:
    total = found["pss"] / 1e6
    if found["pss"] > MEMORY_BUDGET:
        words = f"The stack uses {total:.0f} MB, more than the {MEMORY_BUDGET / 1e6:.0f} MB that it needs when idle."
        return Finding("memory", Level.POOR, words)
    return Finding("memory", Level.GOOD, f"The stack uses {total:.0f} MB together.")


def as_json(findings: list[Finding], found: dict[str, Any] | None) -> dict[str, Any]:
    healthy = all(finding.level is not Level.BAD for finding in findings)
    return {"healthy": healthy, "findings": [asdict(finding) for finding in findings], "memory": found}
