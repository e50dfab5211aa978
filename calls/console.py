"""What operators see of calls: counts, set-up times and endings. No content, no numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from calls.models import CallRecord
from rollout.models import CallEvidence
from rollout.rules.numbers import percentile

LOOK_BACK = timedelta(minutes=15)
LONGEST_CALL = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class CallsNow:
    """`running` counts calls that have not ended; the rest looks back over the last 15 minutes.

    `setup_p95_ms` runs from the invite to both ends connected; None when nobody connected.
    """

    running: int
    by_feature: dict[str, int]
    placed: int
    connected: int
    setup_p50_ms: int | None
    setup_p95_ms: int | None
    endings: dict[str, int]


def running_by_feature(now: datetime) -> dict[str, int]:
    """Calls that have not ended, by feature. A record older than 4 hours without an end counts as lost, not running."""
    rows = CallRecord.objects.filter(ended_at__isnull=True, created_at__gt=now - LONGEST_CALL)
    return {row["feature"]: row["n"] for row in rows.values("feature").annotate(n=Count("id")).order_by()}


def calls_now(now: datetime) -> CallsNow:
    by_feature = running_by_feature(now)
    recent = CallRecord.objects.filter(created_at__gt=now - LOOK_BACK)
    evidence = CallEvidence.objects.filter(at__gt=now - LOOK_BACK, setup_ms__isnull=False)
    newest = evidence.values_list("setup_ms", flat=True).order_by("-at")[:5000]
    took = sorted(ms for ms in newest if ms is not None)
    endings = recent.exclude(reason="").values("reason").annotate(n=Count("id")).order_by("-n")
    return CallsNow(
        running=sum(by_feature.values()),
        by_feature=by_feature,
        placed=recent.count(),
        connected=recent.filter(connected_at__isnull=False).count(),
        setup_p50_ms=percentile(took, 0.5),
        setup_p95_ms=percentile(took, 0.95),
        endings={row["reason"]: row["n"] for row in endings},
    )
