"""Doorbells: Redis tells who listens that PostgreSQL has news. Nobody depends on it, since everybody also asks."""

from __future__ import annotations

import redis
import structlog
from django.conf import settings
from django.db import transaction

from controlplane.base.breaker import Breaker

log = structlog.get_logger(__name__)

RULESET = "rc:ruleset"
FEED = "rc:feed"
PATIENCE = 0.1  # seconds that a commit may wait for Redis
PAUSE = 5.0  # seconds without ringing after Redis was away

_pool: redis.ConnectionPool | None = None
_redis = Breaker(rest=PAUSE)


def ring_on_commit(channel: str, message: str) -> None:
    """Ring once the current transaction is committed, at once when there is none."""
    transaction.on_commit(lambda: ring(channel, message))


def ring(channel: str, message: str) -> bool:
    """Whether Redis took the message. Never raises and never waits longer than 0.1 s for each step."""
    global _pool
    if not _redis.allows():
        return False
    if _pool is None:
        _pool = redis.ConnectionPool.from_url(
            settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, max_connections=4
        )
    try:
        redis.Redis(connection_pool=_pool).publish(channel, message)
    except redis.RedisError as error:
        _redis.failed()
        log.warning("doorbell.failed", channel=channel, error=type(error).__name__)
        return False
    _redis.succeeded()
    return True
