"""What machines ask the web process."""

from __future__ import annotations

import json
import time

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.test import Client

from controlplane.api import health
from controlplane.celery import HEARTBEAT_KEY, heartbeat

pytestmark = pytest.mark.django_db


def test_healthz__asked__ok_without_touching_a_store(client: Client) -> None:
    with connection.execute_wrapper(lambda *arguments: pytest.fail("asked the database")):
        answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_readyz__stores_there__ready(client: Client) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "trouble": None, "without": []}


def test_readyz__redis_away__ready_without_it(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1/0")

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["without"] == ["redis"]


def test_readyz__migration_missing__unready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'outbox'")

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert "manage.py migrate" in answer.json()["trouble"]


def test_health__posted__refused(client: Client) -> None:
    assert client.post("/healthz").status_code == 405


def test_metrics__heartbeat_taken__shows_its_age(client: Client, redis_url: str) -> None:
    heartbeat("ticks")
    with redis.Redis.from_url(redis_url) as store:
        store.set(HEARTBEAT_KEY.format(queue="bulk"), json.dumps({"at": time.time() - 100, "pid": 1}))

    text = client.get("/metrics").content.decode()

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("rollcall_heartbeat"))
    assert float(lines['rollcall_heartbeat_age_seconds{queue="ticks"}']) < 5
    assert 99 < float(lines['rollcall_heartbeat_age_seconds{queue="bulk"}']) < 110
    assert 'rollcall_store_up{store="postgresql"} 1.0' in text


def test_metrics__no_heartbeat__endless_age(client: Client, redis_url: str) -> None:
    text = client.get("/metrics").content.decode()

    assert 'rollcall_heartbeat_age_seconds{queue="ticks"} +Inf' in text
