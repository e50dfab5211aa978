"""How it all stands: the questions behind the overview page, the feature's and area's panels, and the REST overview.

Only reads. What is found becomes values for `rules/standing.py`, which finds the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count
from django.db.models.functions import Trunc

from controlplane.accounts.models import Subscriber
from rollout.models import (
    Allowance,
    Area,
    CapacityDecision,
    Feature,
    Grant,
    Measurement,
    Wave,
    Window,
    WindowState,
)
from rollout.rules.standing import (
    AreaFacts,
    FeatureFacts,
    Opened,
    Standing,
    Switched,
    WaveFacts,
    WaveStanding,
    WindowFacts,
    area_standing,
    feature_standing,
)

SPARK_MINUTES = 30
LEVELS_SHOWN = 40  # of an invite tree: pages and JSON nest as deep, and neither can go on for ever


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature as the overview shows it. `growth` is how many people had it, minute by minute, oldest first."""

    feature: Feature
    standing: Standing
    people: int
    subscribers: int
    running_calls: int
    sources: dict[str, int]
    growth: tuple[int, ...]
    waves: tuple[Wave, ...]
    windows: tuple[Window, ...]

    @property
    def per_cent(self) -> float:
        """How many of all subscribers hold it, in per cent."""
        return 100 * self.people / self.subscribers if self.subscribers else 0.0


@dataclass(frozen=True, slots=True)
class AreaRow:
    """An area as the capacity strip shows it. `calls` is the newest measurement, None when there is none."""

    area: Area
    standing: Standing
    calls: int | None
    measured_at: datetime | None
    decided_at: datetime | None
    allowance: int
    allowance_until: datetime | None

    @property
    def load_ppm(self) -> int | None:
        return None if self.calls is None else round(self.calls * 1_000_000 / self.area.capacity_calls)

    @property
    def load_per_cent(self) -> int | None:
        return None if self.calls is None else round(100 * self.calls / self.area.capacity_calls)


def area_row(area: Area, now: datetime) -> AreaRow:
    """The newest measurement, decision and allowance of one area."""
    decision = CapacityDecision.objects.filter(area=area).order_by("-at").first()
    sample = Measurement.objects.filter(area=area).order_by("-sampled_at").first()
    allowance = Allowance.objects.filter(area=area, valid_until__gt=now).first()
    fresh = sample is not None and (now - sample.sampled_at).total_seconds() <= area.stale_seconds
    facts = AreaFacts(
        name=area.name or area.key,
        state=area.state,
        reason=area.reason,
        would_change=decision.would_change if decision else "",
        tick_seconds=area.tick_seconds,
        decided_at=decision.at if decision else None,
    )
    return AreaRow(
        area=area,
        standing=area_standing(facts, now),
        calls=sample.concurrent_calls if sample and fresh else None,
        measured_at=sample.sampled_at if sample else None,
        decided_at=decision.at if decision else None,
        allowance=allowance.remaining if allowance else 0,
        allowance_until=allowance.valid_until if allowance else None,
    )


def area_rows(now: datetime) -> list[AreaRow]:
    return [area_row(area, now) for area in Area.objects.all()]


def growth(feature: Feature, people: int, now: datetime) -> tuple[int, ...]:
    """How many people had the feature at the end of each of the last 30 minutes (grants made, not those revoked)."""
    start = (now - timedelta(minutes=SPARK_MINUTES - 1)).replace(second=0, microsecond=0)
    rows = (
        Grant.objects.filter(feature=feature, granted_at__gte=start)
        .annotate(minute=Trunc("granted_at", "minute"))
        .values("minute")
        .annotate(n=Count("id"))
    )
    made = {row["minute"]: row["n"] for row in rows}
    had = max(0, people - sum(made.values()))
    line = []
    for i in range(SPARK_MINUTES):
        had += made.get(start + timedelta(minutes=i), 0)
        line.append(had)
    return tuple(line)


def wave_facts(wave: Wave) -> WaveFacts:
    return WaveFacts(wave.name, WaveStanding(wave.state), wave.admitted, wave.held_by, wave.standstill)


def window_facts(window: Window) -> WindowFacts:
    return WindowFacts(window.name, window.places, window.used, window.pending, window.test, window.closes_at)


def feature_row(feature: Feature, now: datetime, *, running_calls: int = 0) -> FeatureRow:
    """How one feature stands. `running_calls` comes from whoever counts calls: the rollout doesn't know them."""
    counted = Grant.objects.live().filter(feature=feature).values("source").annotate(n=Count("id"))
    sources = {row["source"]: row["n"] for row in counted}
    people = sum(sources.values())
    subscribers = Subscriber.objects.count()
    waves = tuple(Wave.objects.filter(feature=feature).order_by("position"))
    windows = tuple(
        Window.objects.filter(feature=feature, state=WindowState.OPEN).order_by("-id").prefetch_related("areas")
    )
    areas = list(Area.objects.all())
    facts = FeatureFacts(
        switch=Switched(feature.switch),
        access=Opened(feature.access),
        visible=feature.visible_to_phones,
        people=people,
        subscribers=subscribers,
        running_calls=running_calls,
        waves=tuple(wave_facts(wave) for wave in waves),
        windows=tuple(window_facts(window) for window in windows),
        held_areas=tuple(area.key for area in areas if area.state != "ramp"),
        areas=len(areas),
    )
    return FeatureRow(
        feature=feature,
        standing=feature_standing(facts, now),
        people=people,
        subscribers=subscribers,
        running_calls=running_calls,
        sources=sources,
        growth=growth(feature, people, now),
        waves=waves,
        windows=windows,
    )


def feature_rows(now: datetime, running_calls: Mapping[str, int]) -> list[FeatureRow]:
    features = Feature.objects.all()
    return [feature_row(feature, now, running_calls=running_calls.get(feature.key, 0)) for feature in features]


@dataclass(frozen=True, slots=True)
class Branch:
    """One person in the invite tree, with those whom they brought in; `below` is how many came in below in all."""

    grant: Grant
    children: tuple[Branch, ...]
    below: int


def invite_tree(root: Grant, *, limit: int = 5000, levels: int = LEVELS_SHOWN) -> Branch:
    """The tree below a grant, level by level, one query a level; `limit` bounds how many people are read, and `levels`
    how deep: what is deeper is seen from a person further down.
    """
    by_parent: dict[int, list[Grant]] = {}
    level, read, depth = [root.pk], 1, 1
    while level and read < limit and depth < levels:
        found = list(
            Grant.objects.filter(parent__in=level)
            .select_related("subscriber", "window")
            .order_by("granted_at")[: limit - read]
        )
        for grant in found:
            assert grant.parent_id is not None
            by_parent.setdefault(grant.parent_id, []).append(grant)
        level = [grant.pk for grant in found]
        read += len(found)
        depth += 1

    def branch(grant: Grant) -> Branch:
        children = tuple(branch(child) for child in by_parent.get(grant.pk, []))
        return Branch(grant, children, sum(1 + child.below for child in children))

    return branch(root)


def invite_roots(feature: Feature, *, limit: int = 50) -> list[tuple[Grant, int]]:
    """Grants that somebody came in below, with how many; the largest branches first."""
    counted = (
        Grant.objects.filter(feature=feature, root__isnull=False)
        .values("root")
        .annotate(n=Count("id"))
        .order_by("-n")[:limit]
    )
    sizes = {row["root"]: row["n"] for row in counted}
    roots = Grant.objects.filter(id__in=[root for root in sizes if root is not None]).select_related("subscriber")
    return sorted(((grant, sizes[grant.pk]) for grant in roots), key=lambda pair: -pair[1])


def live_grant(feature: Feature, subscriber: Subscriber) -> Grant | None:
    """The grant that a person holds, or, when none is live, the last one."""
    rows = Grant.objects.filter(feature=feature, subscriber=subscriber).select_related("subscriber", "window")
    return rows.live().first() or rows.order_by("-id").first()
