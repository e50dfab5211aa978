"""Counting how many people have each feature, beside the requests that show it."""

from __future__ import annotations

from datetime import datetime, timedelta

from rollout.models import Feature, Headcount
from rollout.questions.evaluate import current
from rollout.questions.headcounts import COUNTED_WHEN_ASKED, count
from rollout.questions.people import more_than

AGAIN_AFTER = timedelta(seconds=60)


def refresh_headcounts(*, now: datetime) -> int:
    """Every feature's headcount is by the newest ruleset, and at most a minute old. Returns how many were counted.

    Nothing is counted while people are few enough to be counted when somebody asks.
    """
    ruleset = current()
    fresh = Headcount.objects.filter(ruleset=ruleset.version, at__gt=now - AGAIN_AFTER)
    due = {feature.key: feature for feature in Feature.objects.exclude(headcount__in=fresh)}
    if not due or not more_than(COUNTED_WHEN_ASKED):
        return 0
    rows = [
        Headcount(
            feature=due[key],
            having=found.having,
            looked_at=found.looked_at,
            of=found.of,
            exact=found.exact,
            ruleset=ruleset.version,
            at=now,
        )
        for key, found in count(ruleset, sorted(due), now).items()
    ]
    Headcount.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["feature"],
        update_fields=["having", "looked_at", "of", "exact", "ruleset", "at"],
    )
    return len(rows)
