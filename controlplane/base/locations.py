"""Where this deployment's stores and doors are: URLs of PostgreSQL and Redis, sockets, Host names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from controlplane.base.env import Env
from controlplane.base.keys import derive

ROLE = DATABASE = "rollcall"
OWNER = "rollcall_owner"  # of every table, so that the application owns none
LONGEST_SOCKET_FOLDER = 90  # bytes; sun_path holds 108, and "/.s.PGSQL.5432.lock" comes after


def socket_folder(data: Path) -> Path:
    """Where the sockets are. Short paths: `<data>/s`; others: the folder that `<data>/sockets` names."""
    usual = data / "s"
    if len(os.fsencode(usual)) <= LONGEST_SOCKET_FOLDER:
        return usual
    try:
        return Path((data / "sockets").read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return usual  # nothing was started here yet


def postgres_password(secret: bytes, role: str = ROLE) -> str:
    return derive(secret, f"embedded postgres {role}").hex()


def redis_password(secret: bytes) -> str:
    return derive(secret, "embedded redis").hex()


def database_url(env: Env) -> str:
    """DATABASE_URL, or the embedded PostgreSQL's: postgresql://user:password@/rollcall?host=<socket folder>."""
    return env.database_url or _embedded_url(env, ROLE)


def owner_url(env: Env) -> str | None:
    """What `migrate` uses: DATABASE_OWNER_URL, or the embedded owner's; None where the application is the owner."""
    return env.database_owner_url or (None if env.database_url else _embedded_url(env, OWNER))


def _embedded_url(env: Env, role: str) -> str:
    password = postgres_password(env.secret, role)
    return f"postgresql://{role}:{password}@/{DATABASE}?host={quote(str(socket_folder(env.data)))}"


def redis_url(env: Env) -> str:
    """REDIS_URL, or the embedded Redis's, as redis-py reads it: unix://:password@<path of the socket>."""
    if env.redis_url:
        return env.redis_url
    return f"unix://:{redis_password(env.secret)}@{quote(str(socket_folder(env.data) / 'redis.sock'))}"


def broker_url(url: str) -> str:
    """A Redis URL in Celery's spelling: unix:// becomes redis+socket://, others stay."""
    return "redis+socket" + url.removeprefix("unix") if urlsplit(url).scheme == "unix" else url


def probe_name(env: Env) -> str:
    """A Host header that the deployment allows."""
    first = (env.allowed_hosts or ("localhost",))[0]
    return "localhost" if first == "*" else first.lstrip(".")


def loopback(host: str) -> str:
    """Where a server that listens on `host` can be reached from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
