"""How it all stands: the questions behind the overview page, the feature's and area's panels, and the REST overview.

Only reads. What is found becomes values for `rollout/rules/spread/standing.py`, which finds the words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Trunc

from rollout.models import Allowance, Area, CapacityDecision, Feature, Grant, Measurement, Wave, Window, WindowState
from rollout.questions.headcounts import headcounts
from rollout.questions.people import everybody
from rollout.rules.bulk.headcount import Headcount
from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, Switch, WaveState
from rollout.rules.numbers import people_words
from rollout.rules.spread.standing import (
    AreaFacts,
    FeatureFacts,
    Standing,
    WaveFacts,
    WindowFacts,
    area_standing,
    feature_standing,
    grants_ignored,
    rules_ignored,
)

SPARK_MINUTES = 30


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature as the overview shows it. `headcount` is None until it was counted; `holders` have a live grant, and
    `growth` is how many had one, minute by minute, oldest first.
    """

    feature: Feature
    standing: Standing
    headcount: Headcount | None
    holders: int
    subscribers: int
    running_calls: int
    sources: dict[str, int]
    growth: tuple[int, ...]
    waves: tuple[Wave, ...]
    windows: tuple[Window, ...]

    @property
    def is_on(self) -> bool:
        return self.feature.switch == Switch.ON

    @property
    def idle_rules(self) -> str:
        return idle_rules(self.feature)

    @property
    def grants_count(self) -> bool:
        """Whether grants give the feature."""
        return self.feature.access == Access.GRANTED


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
    def allowance_words(self) -> str:
        """Who may come in is another number than the calls: each of them makes calls later."""
        return f"{people_words(self.allowance)} may come in before the next look"

    @property
    def load_ppm(self) -> int | None:
        return None if self.calls is None else round(self.calls * 1_000_000 / self.area.capacity_calls)

    @property
    def load_per_cent(self) -> int | None:
        return None if self.calls is None else round(100 * self.calls / self.area.capacity_calls)


def area_row(area: Area, now: datetime) -> AreaRow:
    """The newest measurement, decision and allowance of one area."""
    return area_rows(now, [area])[0]


def area_rows(now: datetime, areas: Sequence[Area] | None = None) -> list[AreaRow]:
    """Those of the areas, or of all; a few queries, however many they are."""
    chosen = list(Area.objects.all()) if areas is None else list(areas)
    newest = Area.objects.filter(pk__in=[area.pk for area in chosen]).values_list(
        "pk",
        Subquery(CapacityDecision.objects.filter(area=OuterRef("pk")).order_by("-at").values("pk")[:1]),
        Subquery(Measurement.objects.filter(area=OuterRef("pk")).order_by("-sampled_at").values("pk")[:1]),
    )
    ids = {area: (decision, sample) for area, decision, sample in newest}
    decisions = CapacityDecision.objects.in_bulk([decision for decision, _ in ids.values() if decision])
    samples = Measurement.objects.in_bulk([sample for _, sample in ids.values() if sample])
    allowances = Allowance.objects.filter(valid_until__gt=now).in_bulk(list(ids))
    return [
        _area_row(area, now, decisions.get(ids[area.pk][0]), samples.get(ids[area.pk][1]), allowances.get(area.pk))
        for area in chosen
    ]


def _area_row(
    area: Area,
    now: datetime,
    decision: CapacityDecision | None,
    sample: Measurement | None,
    allowance: Allowance | None,
) -> AreaRow:
    fresh = sample is not None and (now - sample.sampled_at).total_seconds() <= area.stale_seconds
    facts = AreaFacts(
        name=area.name or area.key,
        state=AreaState(area.state),
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


def wave_facts(wave: Wave) -> WaveFacts:
    return WaveFacts(wave.name, WaveState(wave.state), wave.admitted, wave.held_by, wave.standstill)


def ignored_by(feature: Feature) -> str:
    """Why grants give nobody the feature; empty where they do."""
    return grants_ignored(feature.name, Access(feature.access))


def idle_rules(feature: Feature) -> str:
    """That its rules decide nothing; empty where they do."""
    return rules_ignored(len(feature.rules), Access(feature.access))


def window_facts(window: Window) -> WindowFacts:
    return WindowFacts(window.name, window.places, window.used, window.pending, window.test, window.closes_at)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What feature rows are made of, read at once for all: by a feature's id, but for what is the same for all."""

    subscribers: int
    areas: tuple[Area, ...]
    headcounts: Mapping[str, Headcount]
    sources: Mapping[int, Mapping[str, int]]
    made: Mapping[int, Mapping[datetime, int]]  # grants by the minute, of the last 30
    waves: Mapping[int, Sequence[Wave]]
    windows: Mapping[int, Sequence[Window]]


def _first_minute(now: datetime) -> datetime:
    return (now - timedelta(minutes=SPARK_MINUTES - 1)).replace(second=0, microsecond=0)


def _count(features: Sequence[Feature], now: datetime) -> _Counted:
    ids = [feature.pk for feature in features]
    sources: dict[int, dict[str, int]] = defaultdict(dict)
    grants = Grant.objects.filter(feature__in=ids)
    for feature, source, n in grants.live().values_list("feature", "source").annotate(n=Count("id")):
        sources[feature][source] = n
    made: dict[int, dict[datetime, int]] = defaultdict(dict)
    lately = grants.filter(granted_at__gte=_first_minute(now)).annotate(minute=Trunc("granted_at", "minute"))
    for feature, minute, n in lately.values_list("feature", "minute").annotate(n=Count("id")):
        made[feature][minute] = n
    waves: dict[int, list[Wave]] = defaultdict(list)
    for wave in Wave.objects.filter(feature__in=ids).order_by("position"):
        waves[wave.feature_id].append(wave)
    windows: dict[int, list[Window]] = defaultdict(list)
    opened = Window.objects.filter(feature__in=ids, state=WindowState.OPEN).order_by("-id")
    for window in opened.prefetch_related("areas"):
        windows[window.feature_id].append(window)
    subscribers, areas = everybody().of, tuple(Area.objects.all())
    return _Counted(subscribers, areas, headcounts(features, now), sources, made, waves, windows)


def growth(made: Mapping[datetime, int], holders: int, now: datetime) -> tuple[int, ...]:
    """How many people had a grant at the end of each of the last 30 minutes (grants made, not those revoked)."""
    start = _first_minute(now)
    had = max(0, holders - sum(made.values()))
    line = []
    for i in range(SPARK_MINUTES):
        had += made.get(start + timedelta(minutes=i), 0)
        line.append(had)
    return tuple(line)


def feature_row(feature: Feature, now: datetime, *, running_calls: int = 0) -> FeatureRow:
    """How one feature stands. `running_calls` comes from whoever counts calls: the rollout doesn't know them."""
    return feature_rows(now, {feature.key: running_calls}, [feature])[0]


def feature_rows(
    now: datetime, running_calls: Mapping[str, int], features: Sequence[Feature] | None = None
) -> list[FeatureRow]:
    """Those of the features, or of all; a few queries, however many they are."""
    chosen = list(Feature.objects.all()) if features is None else list(features)
    counted = _count(chosen, now)
    return [_feature_row(feature, counted, now, running_calls.get(feature.key, 0)) for feature in chosen]


def _feature_row(feature: Feature, counted: _Counted, now: datetime, running_calls: int) -> FeatureRow:
    sources = dict(counted.sources.get(feature.pk, {}))
    holders, headcount = sum(sources.values()), counted.headcounts.get(feature.key)
    waves = tuple(counted.waves.get(feature.pk, ()))
    windows = tuple(counted.windows.get(feature.pk, ()))
    facts = FeatureFacts(
        switch=Switch(feature.switch),
        access=Access(feature.access),
        visible=feature.visible_to_phones,
        people=headcount.people if headcount else None,
        holders=holders,
        subscribers=counted.subscribers,
        running_calls=running_calls,
        waves=tuple(wave_facts(wave) for wave in waves),
        windows=tuple(window_facts(window) for window in windows),
        held_areas=tuple(area.name for area in counted.areas if area.state != AreaState.RAMP),
        areas=len(counted.areas),
    )
    return FeatureRow(
        feature=feature,
        standing=feature_standing(facts, now),
        headcount=headcount,
        holders=holders,
        subscribers=counted.subscribers,
        running_calls=running_calls,
        sources=sources,
        growth=growth(counted.made.get(feature.pk, {}), holders, now),
        waves=waves,
        windows=windows,
    )
