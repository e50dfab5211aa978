"""Ways in that operators open: waves and windows."""

from __future__ import annotations

from datetime import datetime

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import BooleanField, F, Func, Q, Value

from rollout.models import labels
from rollout.models.areas import Area
from rollout.models.features import Feature
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.feature import WaveState
from rollout.rules.spread.window import ActivateOn, WindowState


class Wave(models.Model):
    """One step of a feature's plan: everybody in the audience whose bucket is below the share gets a grant."""

    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="waves")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    any_of = models.JSONField(default=list, blank=True, help_text="Clauses; an empty list means everybody")
    share_ppm = models.PositiveIntegerField(default=MILLION, validators=[MaxValueValidator(MILLION)])
    state = models.CharField(max_length=8, choices=labels.WAVE_STATE, default=WaveState.DRAFT.value, editable=False)
    held_by = models.CharField(
        max_length=200, blank=True, default="", editable=False, help_text="Who holds it, and why"
    )
    standstill = models.TextField(blank=True, default="", editable=False, help_text="Why the last batch stood still")
    cursor = models.UUIDField(null=True, editable=False)
    passed_over = models.PositiveIntegerField(default=0, editable=False, help_text="People left waiting in this pass")
    admitted = models.PositiveIntegerField(default=0, editable=False)
    opened_at = models.DateTimeField(null=True, editable=False)
    done_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["feature", "position"]
        constraints = [
            models.UniqueConstraint(fields=["feature", "position"], name="one_wave_per_position"),
            models.CheckConstraint(condition=Q(share_ppm__lte=MILLION), name="wave_share_at_most_all"),
        ]

    def __str__(self) -> str:
        return self.name


class WindowQuerySet(models.QuerySet["Window"]):
    def inviting(self, now: datetime) -> WindowQuerySet:
        """Those through which invites go."""
        return self.filter(_is_open(now))

    def due(self, now: datetime) -> WindowQuerySet:
        """Those whose closing time has come, and which nobody has closed yet."""
        return self.filter(~Q(_is_open(now)), state=WindowState.OPEN)


def _is_open(now: datetime) -> Func:
    return Func("state", "closes_at", Value(now), function="rollout_window_is_open", output_field=BooleanField())


class Window(models.Model):
    """A time in which those who have the feature can bring in others by calling them.

    `places` is the whole budget; `pending` are reservations of ringing calls, `used` are grants.
    """

    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="windows")
    name = models.CharField(max_length=100)
    question = models.TextField(blank=True, default="", help_text="What this window is to teach us")
    test = models.BooleanField(default=False)
    areas = models.ManyToManyField(Area, blank=True, help_text="None chosen means everywhere")
    state = models.CharField(
        max_length=10, choices=labels.WINDOW_STATE, default=WindowState.SCHEDULED.value, editable=False
    )
    activate_on = models.CharField(max_length=10, choices=labels.ACTIVATE_ON, default=ActivateOn.ANSWERED.value)
    quota = models.PositiveIntegerField(default=5, help_text="People that each inviter may bring in")
    depth_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="How far from the first inviter the feature may travel; empty means any"
    )
    places = models.PositiveIntegerField(default=1000, help_text="People who can come in through this window")
    root_budget = models.PositiveIntegerField(default=1000, help_text="People who can come in below one first inviter")
    min_grant_age_seconds = models.PositiveIntegerField(default=0)
    used = models.PositiveIntegerField(default=0, editable=False)
    pending = models.PositiveIntegerField(default=0, editable=False)
    opened_at = models.DateTimeField(null=True, editable=False)
    closes_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, editable=False)
    report = models.JSONField(null=True, editable=False)

    objects = WindowQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(places__gte=F("used") + F("pending")), name="window_within_its_places"),
            models.CheckConstraint(
                condition=Q(state=WindowState.CLOSED.value, pending=0) | ~Q(state=WindowState.CLOSED.value),
                name="closed_window_holds_nothing",
            ),
        ]
        indexes = [models.Index(fields=["feature"], name="window_open", condition=Q(state=WindowState.OPEN.value))]

    def __str__(self) -> str:
        return self.name
