"""The live panels: what stands on top of a thing's page, and is asked for again every few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from calls.console import calls_now, running_by_feature
from controlplane.audit.models import AuditEntry
from controlplane.console.charts import LoadChart, Sample, load_chart
from controlplane.outbox.models import Outbox
from rollout.models import Area, CapacityDecision, Feature, Grant, Measurement, Refusal, Wave, Window, WindowState
from rollout.questions.evaluate import refusal
from rollout.questions.overview import (
    AreaRow,
    FeatureRow,
    area_row,
    area_rows,
    feature_row,
    feature_rows,
    ignored_by,
    wave_facts,
    window_facts,
)
from rollout.rules.numbers import people_words
from rollout.rules.spread.standing import wave_standing, window_standing

CHART_SECONDS = 600
LATE = timedelta(seconds=30)
MANY_ATTEMPTS = 5


def feature_panel(feature: Feature, now: datetime) -> dict[str, Any]:
    running = running_by_feature(now).get(feature.key, 0)
    return {"row": feature_row(feature, now, running_calls=running)}


def window_panel(window: Window, now: datetime) -> dict[str, Any]:
    refused = Refusal.objects.filter(window=window).values("outcome").annotate(n=Count("id")).order_by("-n")
    depths = Grant.objects.filter(window=window).values("depth").annotate(n=Count("id")).order_by("depth")
    opened = window.state == WindowState.OPEN
    return {
        "window": window,
        "standing": window_standing(window_facts(window), now, ignored=ignored_by(window.feature)) if opened else None,
        "left": max(0, window.places - window.used - window.pending),
        "refusals": [(row["outcome"], row["n"]) for row in refused],
        "depths": [(row["depth"], row["n"]) for row in depths],
        "report": report_rows(window.report) if window.report else [],
    }


# In the order in which they are read.
REPORT_WORDS = {
    "activations": "People who came in",
    "by_depth": "By depth",
    "denied": "Invites denied",
    "refusals": "Denied, by reason",
    "reservations": "Places held, by how they ended",
    "peak_calls": "Most calls at once",
    "setup_ms": "Set-up time in ms",
    "opened_at": "Opened",
    "closed_at": "Closed",
    "matches_ledger": "Grants, places and announcements agree",
    "ledger": "Counted",
}
LEFT_OUT = {"places"}  # stands above the report


def report_rows(report: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """A window's report as a readable table: one line each, or a line of pairs."""
    rows: list[tuple[str, list[tuple[str, Any]]]] = []
    order = [key for key in REPORT_WORDS if key in report]
    for key in [*order, *(key for key in report if key not in REPORT_WORDS and key not in LEFT_OUT)]:
        value = report[key]
        words = REPORT_WORDS.get(key, key.replace("_", " ").capitalize())
        if isinstance(value, dict):
            pairs = [(str(name).replace("_", " "), number) for name, number in value.items()]
            rows.append((words, [(name, "not known") if number is None else (name, number) for name, number in pairs]))
        elif isinstance(value, list):
            rows.append((words, [(str(i + 1), item) for i, item in enumerate(value)]))
        elif isinstance(value, bool):
            rows.append((words, [("", "yes" if value else "no: tell whoever runs this deployment")]))
        else:
            at = parse_datetime(value) if isinstance(value, str) and key.endswith("_at") else None
            rows.append((words, [("", at.strftime("%d %b %Y, %H:%M:%S UTC") if at else value)]))
    return rows


def wave_panel(wave: Wave, now: datetime) -> dict[str, Any]:
    holding = Grant.objects.live().filter(wave=wave).count()
    return {"wave": wave, "holding": holding, "standing": wave_standing(wave_facts(wave), ignored_by(wave.feature))}


def chart_of(area: Area, now: datetime) -> LoadChart:
    since = now - timedelta(seconds=CHART_SECONDS)
    rows = Measurement.objects.filter(area=area, sampled_at__gte=since).order_by("-sampled_at")[:1200]
    samples = [Sample((now - row.sampled_at).total_seconds(), row.concurrent_calls) for row in rows]
    return load_chart(
        samples,
        capacity=area.capacity_calls,
        hold_above_ppm=area.hold_above_ppm,
        resume_below_ppm=area.resume_below_ppm,
        seconds=CHART_SECONDS,
        silence=area.stale_seconds,
    )


@dataclass(slots=True)
class Spell:
    """Ticks in a row that decided the same: the newest of them, how many, and when the first was."""

    newest: CapacityDecision
    ticks: int
    since: datetime


def spells(area: Area, *, ticks: int = 120, most: int = 10) -> list[Spell]:
    """The last decisions, the newest first, with repetitions told once."""
    found: list[Spell] = []
    for decision in CapacityDecision.objects.filter(area=area).order_by("-at")[:ticks]:
        last = found[-1] if found else None
        if last and (last.newest.state, last.newest.reason) == (decision.state, decision.reason):
            last.ticks += 1
            last.since = decision.at
        elif len(found) == most:
            break
        else:
            found.append(Spell(decision, 1, decision.at))
    return found


def area_panel(area: Area, now: datetime) -> dict[str, Any]:
    chart = chart_of(area, now)
    return {
        "row": area_row(area, now),
        "chart": chart,
        "spells": spells(area),
        "hold_calls": area.capacity_calls * area.hold_above_ppm / 1_000_000,
        "resume_calls": area.capacity_calls * area.resume_below_ppm / 1_000_000,
    }


PANELS: dict[str, tuple[type[Any], Any]] = {
    "feature": (Feature, feature_panel),
    "window": (Window, window_panel),
    "wave": (Wave, wave_panel),
    "area": (Area, area_panel),
}


def render(request: HttpRequest, kind: str, thing: Any) -> str:
    """The panel's HTML. `next` is the page that a verb returns to."""
    now = timezone.now()
    page = request.GET.get("page") or request.path
    context = {**PANELS[kind][1](thing, now), "kind": kind, "thing": thing, "now": now, "page": page}
    return render_to_string(f"console/_{kind}.html", context, request=request)


def needs(features: list[FeatureRow], areas: list[AreaRow], late: int) -> list[tuple[str, str, str, str]]:
    """What needs a person: kind, id, what is wrong, what to do."""
    refused = refusal()
    found = (
        [("ruleset", str(refused[0]), refused[1], "Restore an earlier one, and look into who wrote it.")]
        if refused
        else []
    )
    found += [
        ("feature", str(row.feature.pk), f"{row.feature.name} – {row.standing.verdict}", row.standing.next)
        for row in features
        if row.standing.needs_person
    ]
    found += [
        ("area", str(row.area.pk), f"{row.area.name} – {row.standing.verdict}", row.standing.next)
        for row in areas
        if row.standing.needs_person
    ]
    if late:
        words = f"{late:,} {'effect' if late == 1 else 'effects'} in the outbox could not be delivered yet."
        found.append(("outbox", "", words, "See what the last error says, and whether the worker runs."))
    return found


def overview(now: datetime) -> dict[str, Any]:
    """Everything that the overview page shows."""
    calls = calls_now(now)
    features = feature_rows(now, calls.by_feature)
    areas = area_rows(now)
    waiting = Outbox.objects.filter(delivered_at__isnull=True)
    late = waiting.filter(Q(due_at__lt=now - LATE) | Q(attempts__gte=MANY_ATTEMPTS)).count()
    subscribers = features[0].subscribers if features else 0
    return {
        "now": now,
        "calls": calls,
        "features": features,
        "areas": areas,
        "waiting": waiting.filter(Q(due_at__lte=now) | Q(attempts__gt=0)).count(),
        "audit": list(AuditEntry.objects.order_by("-id")[:10]),
        "needs": needs(features, areas, late),
        "subscribers": subscribers,
        "subscribers_words": people_words(subscribers),
    }
