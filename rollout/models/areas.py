"""What the network carries: areas, measurements, the controller's decisions, and the allowance."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from rollout.models import labels
from rollout.rules.definition.area import KEY_PATTERN, AreaState
from rollout.rules.definition.bucket import MILLION


class Area(models.Model):
    """A unit of capacity. A subscriber belongs to one: a matching carrier beats a country, and both beat neither."""

    key = models.CharField(max_length=64, unique=True, validators=[RegexValidator(KEY_PATTERN)])
    name = models.CharField(max_length=100)
    countries = ArrayField(models.CharField(max_length=2), default=list, blank=True)
    carriers = ArrayField(models.CharField(max_length=7), default=list, blank=True)
    capacity_calls = models.PositiveIntegerField(help_text="Concurrent calls that this area can carry")
    hold_above_ppm = models.PositiveIntegerField(default=800_000)
    resume_below_ppm = models.PositiveIntegerField(default=640_000)
    activations_per_minute = models.PositiveIntegerField(default=1000)
    tick_seconds = models.FloatField(default=15)
    stale_seconds = models.FloatField(default=45)
    state = models.CharField(max_length=8, choices=labels.AREA_STATE, default=AreaState.UNKNOWN.value, editable=False)
    reason = models.TextField(blank=True, default="No measurement has arrived yet.", editable=False)
    next_tick_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["key"]
        constraints = [
            models.CheckConstraint(condition=Q(capacity_calls__gte=1), name="area_has_capacity"),
            models.CheckConstraint(
                condition=Q(resume_below_ppm__lt=F("hold_above_ppm")), name="area_resumes_below_hold"
            ),
            models.CheckConstraint(condition=Q(hold_above_ppm__lte=MILLION), name="area_holds_at_most_full"),
            models.CheckConstraint(condition=Q(tick_seconds__gte=0.5), name="area_ticks_at_least_half_second"),
            models.CheckConstraint(condition=Q(stale_seconds__gte=F("tick_seconds")), name="area_stale_after_a_tick"),
        ]

    def __str__(self) -> str:
        return self.name


class MeasurementQuerySet(models.QuerySet["Measurement"]):
    def peak_between(self, areas: list[int], start: datetime, end: datetime) -> int:
        """The most concurrent calls measured in any of the areas; 0 when nothing was measured."""
        seen = self.filter(area_id__in=areas, sampled_at__gte=start, sampled_at__lte=end)
        return int(seen.aggregate(peak=models.Max("concurrent_calls"))["peak"] or 0)


class Measurement(models.Model):
    """One sample of an area's load, taken by Celery from the edges. `sampled_at` is the time at the source."""

    id = models.BigAutoField(primary_key=True)
    area = models.ForeignKey(Area, on_delete=models.CASCADE, related_name="measurements")
    sampled_at = models.DateTimeField()
    concurrent_calls = models.PositiveIntegerField()
    attempts = models.BigIntegerField(help_text="Call attempts since the previous sample")
    edges = models.JSONField(default=dict, help_text="What each edge reported")

    objects = MeasurementQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["area", "-sampled_at"], name="measurement_by_area")]

    def __str__(self) -> str:
        return f"{self.area_id}: {self.concurrent_calls} calls"


class CapacityDecision(models.Model):
    """What the controller decided in one tick of one area, from which inputs, in words."""

    id = models.BigAutoField(primary_key=True)
    area = models.ForeignKey(Area, on_delete=models.CASCADE, related_name="decisions")
    at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=labels.AREA_STATE)
    previous_state = models.CharField(max_length=8, choices=labels.AREA_STATE)
    reason = models.TextField()
    would_change = models.TextField(help_text="What would change the state")
    minted = models.PositiveIntegerField()
    inputs = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["area", "-at"], name="decision_by_area")]

    def __str__(self) -> str:
        return f"{self.area_id} {self.state} at {self.at}"


class Allowance(models.Model):
    """How many more people an area may activate before `valid_until`. Windows and waves spend from the same row."""

    area = models.OneToOneField(Area, on_delete=models.CASCADE, primary_key=True, related_name="allowance")
    remaining = models.PositiveIntegerField(default=0)
    valid_until = models.DateTimeField()
    minted_total = models.PositiveBigIntegerField(default=0)
    spent_total = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(remaining__gte=0), name="allowance_never_negative")]

    def __str__(self) -> str:
        return f"{self.area_id}: {self.remaining} until {self.valid_until}"


class CallEvidence(models.Model):
    """What the calls app reports of each ended or connected call, for reports and guards."""

    call = models.UUIDField(primary_key=True)
    feature = models.CharField(max_length=64)
    area = models.CharField(max_length=64)
    window = models.BigIntegerField(null=True)
    setup_ms = models.PositiveIntegerField(null=True, help_text="From the invite to both ends connected")
    reason = models.CharField(max_length=24, blank=True, default="", db_default="")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["area", "-at"], name="evidence_by_area")]

    def __str__(self) -> str:
        return str(self.call)
