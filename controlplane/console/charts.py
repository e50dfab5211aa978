"""Pictures of numbers as SVG geometry, computed here and drawn by templates. Pure: values in, points out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spark:
    """A line over equal steps; `points` and `area` are SVG coordinates in a box of `width` by `height`."""

    width: int
    height: int
    points: str
    area: str
    last_x: float
    last_y: float


def spark(values: Sequence[float], *, width: int = 112, height: int = 28) -> Spark | None:
    """None for fewer than two values. The scale starts at zero, so that a flat line is not made dramatic."""
    if len(values) < 2:
        return None
    top = max(max(values), 1)
    step = (width - 4) / (len(values) - 1)
    spots = [(2 + i * step, height - 3 - (height - 6) * value / top) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    area = f"2,{height - 1} {line} {spots[-1][0]:.1f},{height - 1}"
    return Spark(width, height, line, area, round(spots[-1][0], 1), round(spots[-1][1], 1))


@dataclass(frozen=True, slots=True)
class Sample:
    """A load at an age: `ago` seconds before now."""

    ago: float
    calls: int


@dataclass(frozen=True, slots=True)
class LoadChart:
    """Load against capacity over the last `seconds`. Ys grow downwards, as SVG's do."""

    width: int
    height: int
    left: int
    bottom: int
    lines: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    capacity_y: float
    hold_y: float
    resume_y: float
    zero_y: float
    labels: tuple[tuple[float, str], ...]
    times: tuple[tuple[float, str], ...]


def load_chart(
    samples: Sequence[Sample],
    *,
    capacity: int,
    hold_above_ppm: int,
    resume_below_ppm: int,
    seconds: int = 600,
    silence: float = 45,
    width: int = 640,
    height: int = 200,
) -> LoadChart:
    """The chart; older samples are left out. The line breaks at a silence of more than `silence` seconds."""
    left, right, head, foot = 44, 12, 12, 24
    seen = sorted((s for s in samples if 0 <= s.ago <= seconds), key=lambda s: -s.ago)
    ceiling = max([capacity * 1.1, *(s.calls * 1.05 for s in seen)])

    def x(ago: float) -> float:
        return round(left + (width - left - right) * (1 - ago / seconds), 1)

    def y(calls: float) -> float:
        return round(head + (height - head - foot) * (1 - calls / ceiling), 1)

    dots = tuple((x(s.ago), y(s.calls)) for s in seen)
    runs: list[list[tuple[float, float]]] = []
    for i, dot in enumerate(dots):
        if i == 0 or seen[i - 1].ago - seen[i].ago > silence:
            runs.append([])
        runs[-1].append(dot)
    return LoadChart(
        width=width,
        height=height,
        left=left,
        bottom=height - foot,
        lines=tuple(" ".join(f"{a},{b}" for a, b in run) for run in runs),
        dots=dots,
        capacity_y=y(capacity),
        hold_y=y(capacity * hold_above_ppm / 1_000_000),
        resume_y=y(capacity * resume_below_ppm / 1_000_000),
        zero_y=y(0),
        labels=tuple((y(value), f"{value:,}") for value in sorted({0, capacity // 2, capacity})),
        times=tuple((x(ago), f"{ago // 60} min ago" if ago else "now") for ago in range(seconds, -1, -seconds // 5)),
    )
