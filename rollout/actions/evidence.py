"""Measuring load. The only place where measurements are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

import redis
import structlog
from django.conf import settings

from rollout.models import Area, Measurement
from rollout.rules.capacity.controller import AreaConfig, EdgeReport, combine

log = structlog.get_logger(__name__)

EDGES_KEY = "rc:edges"
LIVE_KEY = "rc:live:{area}"
STORE_SECONDS = 1.0


def config_of(area: Area) -> AreaConfig:
    return AreaConfig(
        name=area.name,
        capacity=area.capacity_calls,
        hold_above_ppm=area.hold_above_ppm,
        resume_below_ppm=area.resume_below_ppm,
        activations_per_minute=area.activations_per_minute,
        tick_seconds=area.tick_seconds,
        stale_seconds=area.stale_seconds,
    )


def read_reports(area: Area, now: datetime) -> tuple[list[EdgeReport], int]:
    """Every edge's report about the area, and how many calls the shared record holds. Raises `redis.RedisError`.

    A report that can't be read is left out and logged: its edge counts as silent.
    """
    key = LIVE_KEY.format(area=area.key)
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=STORE_SECONDS, socket_connect_timeout=STORE_SECONDS
    ) as client:
        told = cast("Mapping[bytes, bytes]", client.hgetall(EDGES_KEY))
        live = int(cast(int, client.zcount(key, int(now.timestamp() * 1000), "+inf")))
    reports = []
    for edge, raw in told.items():
        try:
            reports.append(EdgeReport.from_json(edge.decode(), json.loads(raw), area.key))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("report.refused", edge=edge.decode(errors="replace"), error=type(error).__name__)
    return reports, live


def measure(area: Area, *, now: datetime) -> str:
    """Writes one measurement of the area, if an edge has reported. Returns in words what went wrong, if anything."""
    try:
        reports, live = read_reports(area, now)
    except redis.RedisError as error:
        log.warning("measurement.failed", area=area.key, error=type(error).__name__)
        return "the store of the edges' reports can't be reached"
    before: Mapping[str, Any] = area.measurements.order_by("-id").values_list("edges", flat=True).first() or {}
    load = combine(reports, live, before, config_of(area), now)
    if load is not None:
        Measurement.objects.create(
            area=area,
            sampled_at=load.at,
            concurrent_calls=load.concurrent,
            attempts=load.attempts,
            edges=dict(load.edges),
        )
    return ""
