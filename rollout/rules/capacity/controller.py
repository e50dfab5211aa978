"""The capacity controller of one area: from the newest measurement to a state, an allowance, and the reasons in words.

It is safe when it is blind: without a fresh measurement nobody is taken in, and what it mints expires by itself.
The forecast of committed load, several resources and guards come later; the shape stays: values in, `Tick` out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

from rollout.rules.definition.area import AreaState
from rollout.rules.definition.bucket import MILLION
from rollout.rules.numbers import share_words

SKEW = timedelta(seconds=30)  # how far an edge's clock may run ahead before its report is not believed


@dataclass(frozen=True, slots=True)
class AreaConfig:
    """`capacity` in concurrent calls; times in seconds; shares in parts per million of the capacity."""

    name: str
    capacity: int
    hold_above_ppm: int
    resume_below_ppm: int
    activations_per_minute: int
    tick_seconds: float
    stale_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement; `at` is the time at its source."""

    at: datetime
    concurrent: int
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick decided. `minted` people may come in until `valid_until`; nobody when it is 0."""

    state: AreaState
    reason: str
    would_change: str
    minted: int
    valid_until: datetime


def seconds_words(seconds: float) -> str:
    return f"{seconds:g} s"


def calls_below(config: AreaConfig, ppm: int) -> int:
    """The most concurrent calls whose share is below `ppm`."""
    return max(0, (ppm * config.capacity - 1) // MILLION)


def decide(state: AreaState, sample: Sample | None, config: AreaConfig, now: datetime, trouble: str = "") -> Tick:
    """Hold above `hold_above_ppm` until below `resume_below_ppm`; without a fresh sample the load is unknown.

    What is minted expires with the freshness of the sample at the latest: 45 s without a report let nobody in, whether
    a tick comes to see it or not. From `unknown`, as from `hold`, only a load below `resume_below_ppm` resumes: what
    happened meanwhile wasn't seen.
    `trouble` says why no sample could be taken, if that is known.
    """
    if not is_fresh(sample, config, now) or sample is None:
        return _unknown(sample, config, now, trouble)
    load_ppm = sample.concurrent * MILLION // config.capacity
    seen = f"{sample.concurrent:,} of {config.capacity:,} calls, {share_words(load_ppm, decimals=1)}"
    resume, hold = share_words(config.resume_below_ppm, decimals=1), share_words(config.hold_above_ppm, decimals=1)
    over = sample.concurrent * MILLION > config.hold_above_ppm * config.capacity
    below = sample.concurrent * MILLION < config.resume_below_ppm * config.capacity
    if over or (state is not AreaState.RAMP and not below):
        return Tick(
            AreaState.HOLD,
            f"{config.name} is held – {seen}; admission resumes below {resume}.",
            f"Fewer calls: at most {calls_below(config, config.resume_below_ppm):,} at once.",
            0,
            now,
        )
    return Tick(
        AreaState.RAMP,
        f"{config.name} takes people in – {seen}.",
        f"A load above {hold} holds; no report of an edge for {seconds_words(config.stale_seconds)} holds as well.",
        portion(config),
        min(now + timedelta(seconds=2 * config.tick_seconds), sample.at + timedelta(seconds=config.stale_seconds)),
    )


def is_fresh(sample: Sample | None, config: AreaConfig, now: datetime) -> bool:
    """Whether the sample says anything about now: not older than `stale_seconds`, and not from the future."""
    return sample is not None and timedelta(seconds=-SKEW.total_seconds()) <= now - sample.at <= timedelta(
        seconds=config.stale_seconds
    )


def portion(config: AreaConfig) -> int:
    """How many people one tick may take in: the area's rate, at least 1; 0 only when its rate is 0."""
    if not config.activations_per_minute:
        return 0
    return max(1, int(config.activations_per_minute * config.tick_seconds / 60))


def _unknown(sample: Sample | None, config: AreaConfig, now: datetime, trouble: str) -> Tick:
    if trouble:
        why = trouble
    elif sample is None:
        why = "no edge has reported yet"
    elif sample.at > now + SKEW:
        why = "the edges' clocks run ahead of this one"
    else:
        why = f"no edge has reported for {seconds_words(round((now - sample.at).total_seconds()))}"
    return Tick(
        AreaState.UNKNOWN,
        f"capacity_unknown: {config.name} is held – {why}, so its load is not known, and nobody is taken in.",
        f"A report of an edge, not older than {seconds_words(config.stale_seconds)}.",
        0,
        now,
    )


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """What one edge says of itself about one area. `attempts` and `setups` count up since its start."""

    edge: str
    at: datetime
    concurrent: int
    attempts: int
    setups: int

    @classmethod
    def from_json(cls, edge: str, raw: Mapping[str, Any], area: str) -> EdgeReport:
        """An area that the report doesn't name has no call there. Raises ValueError, KeyError or TypeError."""
        counts = raw["areas"].get(area, {})
        numbers = [int(counts.get(name, 0)) for name in ("concurrent", "attempts", "setups")]
        if min(numbers) < 0:
            raise ValueError("a count is below zero")
        at = datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(milliseconds=int(raw["at"]))
        return cls(edge, at, *numbers)


@dataclass(frozen=True, slots=True)
class Load:
    """The load of an area, put together from the edges' reports and the shared record of live calls."""

    at: datetime
    concurrent: int
    attempts: int
    edges: Mapping[str, Mapping[str, Any]]


def combine(
    reports: list[EdgeReport], live: int, before: Mapping[str, Mapping[str, Any]], config: AreaConfig, now: datetime
) -> Load | None:
    """The area's load, or None when no report is fresh: silence is never zero.

    The higher of two counts is believed: the shared record loses calls when the store is emptied, an edge's own memory
    when it restarts. `before` holds the edges of the previous measurement, from which attempts are counted on; one
    that went back belongs to an edge that started again.
    """
    fresh = [each for each in reports if is_fresh(Sample(each.at, 0), config, now)]
    if not fresh:
        return None
    attempts = 0
    for each in fresh:
        counted = int(before.get(each.edge, {}).get("attempts", 0))
        attempts += each.attempts - counted if each.attempts >= counted else each.attempts
    return Load(
        at=max(each.at for each in fresh),
        concurrent=max(live, sum(each.concurrent for each in fresh)),
        attempts=attempts,
        edges={
            each.edge: {
                "at": each.at.isoformat(),
                "concurrent": each.concurrent,
                "attempts": each.attempts,
                "setups": each.setups,
            }
            for each in fresh
        },
    )


def headline(state: AreaState) -> str:
    """One word or two for a state, as it stands in the audit."""
    match state:
        case AreaState.RAMP:
            return "area.resumed"
        case AreaState.HOLD:
            return "area.held"
        case AreaState.UNKNOWN:
            return "area.capacity_unknown"
        case _:
            assert_never(state)
