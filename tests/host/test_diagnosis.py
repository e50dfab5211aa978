"""What `manage.py doctor` finds, where it takes no whole stack to see."""

from __future__ import annotations

import json
import time

import pytest
import redis
from django.conf import settings

from controlplane.host.diagnosis import Level, redis_store
from rollout.models import Area


@pytest.mark.django_db
@pytest.mark.parametrize(("stale", "level"), [(2.0, Level.BAD), (45.0, Level.GOOD)])
def test_edges__report_of_five_seconds_ago__judged_by_the_least_patient_area(
    redis_url: str, stale: float, level: Level
) -> None:
    Area.objects.create(key="patient", name="Patient", capacity_calls=10, stale_seconds=60)
    Area.objects.create(key="other", name="Other", capacity_calls=10, tick_seconds=1, stale_seconds=stale)
    with redis.Redis.from_url(redis_url) as client:
        client.hset("rc:edges", "edge-1", json.dumps({"at": (time.time() - 5) * 1000}))

    found = {finding.about: finding for finding in redis_store(settings.ENV)}["edges"]

    assert found.level is level
    if level is Level.BAD:
        assert "for 2 s" in found.words
