"""Can the two stores be used? One sentence for each that can't, saying what failed and what to do.

Run as a program (`python -m controlplane.base.stores`), it prints those sentences and exits 1; the supervisor does so
before it migrates, and so never loads a database driver itself.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import redis

from controlplane.base import env, locations, logs

OLDEST_POSTGRES = 140000  # PostgreSQL 14
OLDEST_REDIS = (6, 2)


@dataclass(frozen=True, slots=True)
class StoreState:
    """`trouble` is empty when the store can be used."""

    name: str
    version: str
    trouble: str


def _place(url: str) -> str:
    parts = urlsplit(url)
    return parts.hostname or "the local socket"


def check_database(url: str, *, named: str = "DATABASE_URL", patience: int = 5) -> StoreState:
    """Connects and asks for the version; never raises."""
    if not url.startswith(("postgresql://", "postgres://")):
        why = f"{named} must start with postgresql://, as in postgresql://user:password@host/name. Mend it."
        return StoreState("PostgreSQL", "", why)
    try:
        with psycopg.connect(url, connect_timeout=patience) as connection:
            version = connection.info.server_version
            row = connection.execute("SHOW synchronous_commit").fetchone()
    except (psycopg.Error, UnicodeError, ValueError) as error:
        said = logs.redact(" ".join(str(error).split()))[:300] or type(error).__name__
        return StoreState(
            "PostgreSQL", "", f"PostgreSQL at {_place(url)} can't be used: {said}. {_advice(said, named)}"
        )
    words = f"{version // 10000}.{version % 10000}"
    if version < OLDEST_POSTGRES:
        why = (
            f"PostgreSQL {words} at {_place(url)} is too old: Rollcall needs 14 or later. Point {named} at a newer one."
        )
        return StoreState("PostgreSQL", words, why)
    if row is None or row[0] == "off":
        why = (
            "PostgreSQL runs with synchronous_commit = off: grants could be lost after they were acknowledged. Set it "
            "to on, for instance with ALTER DATABASE … SET synchronous_commit = on."
        )
        return StoreState("PostgreSQL", words, why)
    return StoreState("PostgreSQL", words, "")


def _advice(said: str, named: str) -> str:
    if "password authentication" in said or "no password" in said:
        return f"Mend the user or the password in {named}."
    if "does not exist" in said:
        return f"Create it, or mend the name in {named}."
    if "resolve" in said or "Name or service" in said:
        return f"Mend the host name in {named}."
    return f"Start that server, mend {named}, or unset it to use the embedded PostgreSQL."


def check_redis(url: str, *, named: str = "REDIS_URL", patience: float = 5) -> StoreState:
    """Pings and asks for the version; never raises."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=patience, socket_timeout=patience) as client:
            version = str(client.info("server")["redis_version"])
    except ValueError:
        why = f"{named} must start with redis://, rediss:// or unix://, as in redis://:password@host:6379/0. Mend it."
        return StoreState("Redis", "", why)
    except redis.exceptions.AuthenticationError:
        return StoreState("Redis", "", f"Redis at {_place(url)} refuses the password. Mend it in {named}.")
    except (redis.exceptions.RedisError, OSError) as error:
        said = logs.redact(" ".join(str(error).split()))[:300]
        why = (
            f"Redis at {_place(url)} can't be used: {said} Start it, mend {named}, or unset it to use the embedded one."
        )
        return StoreState("Redis", "", why)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        why = f"Redis {version} at {_place(url)} is too old: Rollcall needs 6.2 or later. Point {named} at a newer one."
        return StoreState("Redis", version, why)
    return StoreState("Redis", version, "")


def main() -> int:
    here = env.load()
    states = [check_database(locations.database_url(here)), check_redis(locations.redis_url(here))]
    for state in states:
        if state.trouble:
            print(state.trouble)
    return 1 if any(state.trouble for state in states) else 0


if __name__ == "__main__":
    sys.exit(main())
