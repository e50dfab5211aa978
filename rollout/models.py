"""Who may have what, when, and why: features, rulesets, waves, windows, grants and areas."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from controlplane.accounts.models import Subscriber

MILLION = 1_000_000


class Switch(models.TextChoices):
    OFF = "off", "Off: no new calls, running ones finish"
    ON = "on", "On"
    KILLED = "killed", "Killed: stopped for everybody"


class Access(models.TextChoices):
    GRANTED = "granted", "Granted: holders of a live grant"
    RULES = "rules", "Rules: the rules decide"
    EVERYONE = "everyone", "Everyone: launched"


class FeatureKind(models.TextChoices):
    BOOLEAN = "boolean"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    OBJECT = "object"


class Feature(models.Model):
    """Something an operator can switch on for people. `variants` maps names to values of the feature's kind."""

    key = models.CharField(
        max_length=64, unique=True, validators=[RegexValidator(r"\A[a-z0-9._-]{1,64}\Z", "Use a-z, 0-9, dot, _ and -.")]
    )
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True, default="")
    owner = models.CharField(max_length=100, blank=True, default="")
    tags = ArrayField(models.CharField(max_length=32), default=list, blank=True)
    kind = models.CharField(max_length=8, choices=FeatureKind.choices, default=FeatureKind.BOOLEAN)
    salt = models.CharField(max_length=32, editable=False)
    switch = models.CharField(max_length=8, choices=Switch.choices, default=Switch.OFF)
    killed_from = models.CharField(
        max_length=8, choices=Switch.choices, blank=True, default="", editable=False, help_text="What un-killing restores"
    )
    access = models.CharField(max_length=8, choices=Access.choices, default=Access.GRANTED)
    requirements = models.JSONField(default=dict, blank=True)
    prerequisites = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    rules = models.JSONField(default=list, blank=True)
    variants = models.JSONField(default=dict, blank=True)
    default_variant = models.CharField(max_length=64, default="on")
    off_variant = models.CharField(max_length=64, default="off")
    visible_to_phones = models.BooleanField(default=False)
    stop_calls_before = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Calls that began before this are ended"
    )
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Audience(models.Model):
    """A reusable set of people: ANY of several lists of clauses, each list joined by AND."""

    key = models.CharField(max_length=64, unique=True, validators=[RegexValidator(r"\A[a-z0-9._-]{1,64}\Z")])
    name = models.CharField(max_length=100)
    any_of = models.JSONField(default=list, help_text="[[clause, clause], [clause]]")

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return self.key


class Ruleset(models.Model):
    """One published version of all features and audiences: canonical JSON and its Ed25519 signature. Never changed."""

    version = models.BigAutoField(primary_key=True)
    body = models.BinaryField()
    signature = models.BinaryField()
    key_id = models.CharField(max_length=16)
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=150)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-version"]

    def __str__(self) -> str:
        return f"ruleset {self.version}"


class AreaState(models.TextChoices):
    RAMP = "ramp", "Taking people in"
    HOLD = "hold", "Held: load is too high"
    UNKNOWN = "unknown", "Held: the load is not known"


class Area(models.Model):
    """A unit of capacity. A subscriber belongs to one: a matching carrier beats a country, and both beat neither."""

    key = models.CharField(max_length=64, unique=True, validators=[RegexValidator(r"\A[A-Za-z0-9._-]{1,64}\Z")])
    name = models.CharField(max_length=100)
    countries = ArrayField(models.CharField(max_length=2), default=list, blank=True)
    carriers = ArrayField(models.CharField(max_length=7), default=list, blank=True)
    capacity_calls = models.PositiveIntegerField(help_text="Concurrent calls that this area can carry")
    hold_above_ppm = models.PositiveIntegerField(default=800_000)
    resume_below_ppm = models.PositiveIntegerField(default=640_000)
    activations_per_minute = models.PositiveIntegerField(default=1000)
    tick_seconds = models.FloatField(default=15)
    stale_seconds = models.FloatField(default=45)
    state = models.CharField(max_length=8, choices=AreaState.choices, default=AreaState.UNKNOWN, editable=False)
    reason = models.TextField(blank=True, default="No measurement has arrived yet.", editable=False)
    next_tick_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["key"]
        constraints = [
            models.CheckConstraint(condition=Q(capacity_calls__gte=1), name="area_has_capacity"),
            models.CheckConstraint(condition=Q(resume_below_ppm__lt=F("hold_above_ppm")), name="area_resumes_below_hold"),
            models.CheckConstraint(condition=Q(hold_above_ppm__lte=MILLION), name="area_holds_at_most_full"),
            models.CheckConstraint(condition=Q(tick_seconds__gte=0.5), name="area_ticks_at_least_half_second"),
            models.CheckConstraint(condition=Q(stale_seconds__gte=F("tick_seconds")), name="area_stale_after_a_tick"),
        ]

    def __str__(self) -> str:
        return self.key


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
    state = models.CharField(max_length=8, choices=AreaState.choices)
    previous_state = models.CharField(max_length=8, choices=AreaState.choices)
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


class WaveState(models.TextChoices):
    DRAFT = "draft"
    OPEN = "open"
    HELD = "held"
    DONE = "done"


class Wave(models.Model):
    """One step of a feature's plan: everybody in the audience whose bucket is below the share gets a grant."""

    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="waves")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    any_of = models.JSONField(default=list, blank=True, help_text="Clauses; an empty list means everybody")
    share_ppm = models.PositiveIntegerField(default=MILLION, validators=[MaxValueValidator(MILLION)])
    state = models.CharField(max_length=8, choices=WaveState.choices, default=WaveState.DRAFT, editable=False)
    held_by = models.CharField(max_length=200, blank=True, default="", editable=False, help_text="Who holds it, and why")
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
        return f"{self.name} of {self.feature_id}"


class WindowState(models.TextChoices):
    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"


class ActivateOn(models.TextChoices):
    ANSWERED = "answered", "The call is answered"
    OFFERED = "offered", "The call is offered"


class Window(models.Model):
    """A time in which those who have the feature can bring in others by calling them.

    `places` is the whole budget; `pending` are reservations of ringing calls, `used` are grants.
    """

    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="windows")
    name = models.CharField(max_length=100)
    question = models.TextField(blank=True, default="", help_text="What this window is to teach us")
    test = models.BooleanField(default=False)
    areas = models.ManyToManyField(Area, blank=True, help_text="None chosen means everywhere")
    state = models.CharField(max_length=10, choices=WindowState.choices, default=WindowState.SCHEDULED, editable=False)
    activate_on = models.CharField(max_length=10, choices=ActivateOn.choices, default=ActivateOn.ANSWERED)
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

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(places__gte=F("used") + F("pending")), name="window_within_its_places"),
            models.CheckConstraint(
                condition=Q(state="closed", pending=0) | ~Q(state="closed"), name="closed_window_holds_nothing"
            ),
        ]
        indexes = [models.Index(fields=["feature"], name="window_open", condition=Q(state="open"))]

    def __str__(self) -> str:
        return self.name


class Source(models.TextChoices):
    SEED = "seed"
    WAVE = "wave"
    INVITE = "invite"
    LAUNCH = "launch"
    OPERATOR = "operator"


class GrantState(models.TextChoices):
    ACTIVE = "active"
    FROZEN = "frozen"
    REVOKED = "revoked"
    TOMBSTONE = "tombstone"


class GrantQuerySet(models.QuerySet["Grant"]):
    def live(self) -> GrantQuerySet:
        """Grants that give the feature: a frozen inviter keeps it and only can't invite."""
        return self.filter(state__in=[GrantState.ACTIVE, GrantState.FROZEN])


class Grant(models.Model):
    """One person's hold on one feature, and, for source `invite`, an edge of the invite graph."""

    id = models.BigAutoField(primary_key=True)
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="grants")
    subscriber = models.ForeignKey(Subscriber, null=True, on_delete=models.SET_NULL, related_name="grants")
    source = models.CharField(max_length=8, choices=Source.choices)
    wave = models.ForeignKey(Wave, null=True, on_delete=models.PROTECT, related_name="grants")
    window = models.ForeignKey(Window, null=True, on_delete=models.PROTECT, related_name="grants")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    root = models.BigIntegerField(null=True, help_text="Id of the first grant of this branch; null for a root itself")
    depth = models.PositiveIntegerField(default=0, db_default=0)
    call = models.UUIDField(null=True)
    area = models.ForeignKey(Area, null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=GrantState.choices, default="active", db_default="active")
    granted_at = models.DateTimeField(db_default=Now())
    granted_by = models.CharField(max_length=150, blank=True, default="", db_default="")

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["feature", "subscriber"],
                condition=Q(state__in=["active", "frozen"]),
                name="one_live_grant_per_person",
            ),
            models.UniqueConstraint(fields=["feature", "call"], condition=Q(call__isnull=False), name="one_grant_per_call"),
            models.CheckConstraint(
                condition=~Q(source="invite") | Q(parent__isnull=False, window__isnull=False, call__isnull=False),
                name="invite_grant_knows_its_origin",
            ),
        ]
        indexes = [
            models.Index(fields=["parent"], name="grant_by_parent", condition=Q(parent__isnull=False)),
            models.Index(fields=["window"], name="grant_by_window", condition=Q(window__isnull=False)),
            models.Index(fields=["wave"], name="grant_by_wave", condition=Q(wave__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.subscriber_id} has {self.feature_id} by {self.source}"


class InviterPlaces(models.Model):
    """What one inviter has used of one window's quota."""

    window = models.ForeignKey(Window, on_delete=models.CASCADE, related_name="inviters")
    inviter = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="places")
    allowed = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0, db_default=0)
    pending = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["window", "inviter"], name="one_quota_per_inviter"),
            models.CheckConstraint(condition=Q(allowed__gte=F("used") + F("pending")), name="inviter_within_quota"),
        ]

    def __str__(self) -> str:
        return f"{self.inviter_id} used {self.used} of {self.allowed}"


class RootPlaces(models.Model):
    """What everybody below one root has used of one window's root budget."""

    window = models.ForeignKey(Window, on_delete=models.CASCADE, related_name="roots")
    root = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="+")
    allowed = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0, db_default=0)
    pending = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["window", "root"], name="one_budget_per_root"),
            models.CheckConstraint(condition=Q(allowed__gte=F("used") + F("pending")), name="root_within_budget"),
        ]

    def __str__(self) -> str:
        return f"{self.root_id} used {self.used} of {self.allowed}"


class ReservationState(models.TextChoices):
    PENDING = "pending"
    COMPLETED = "completed"
    RELEASED = "released"
    EXPIRED = "expired"
    CANCELLED = "cancelled", "Cancelled by closing the window"


class Reservation(models.Model):
    """A place held while a call rings. It becomes a grant inside the accept, or is given back."""

    id = models.BigAutoField(primary_key=True)
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    call = models.UUIDField()
    window = models.ForeignKey(Window, on_delete=models.PROTECT, related_name="reservations")
    inviter = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="+")
    root = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="+")
    callee = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="+")
    depth = models.PositiveIntegerField()
    area = models.ForeignKey(Area, null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=ReservationState.choices)
    why = models.CharField(max_length=64, blank=True, default="", db_default="")
    grant = models.OneToOneField(Grant, null=True, on_delete=models.PROTECT, related_name="reservation")
    places_returned = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["feature", "call"], name="one_reservation_per_call"),
            models.UniqueConstraint(
                fields=["feature", "callee"], condition=Q(state="pending"), name="one_pending_reservation_per_callee"
            ),
            models.CheckConstraint(
                condition=Q(state="completed", grant__isnull=False) | (~Q(state="completed") & Q(grant__isnull=True)),
                name="completed_reservation_has_its_grant",
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="reservation_unreturned", condition=Q(places_returned=False)),
            models.Index(fields=["window"], name="reservation_by_window"),
        ]

    def __str__(self) -> str:
        return f"{self.call}: {self.state}"


class Refusal(models.Model):
    """Denied demand: one invite by call that was refused, with the exact cause, for operators only."""

    id = models.BigAutoField(primary_key=True)
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    call = models.UUIDField()
    window = models.ForeignKey(Window, null=True, on_delete=models.PROTECT, related_name="refusals")
    inviter = models.UUIDField()
    callee = models.UUIDField(null=True)
    outcome = models.CharField(max_length=24)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feature", "call"], name="one_refusal_per_call")]
        indexes = [
            models.Index(fields=["window"], name="refusal_by_window"),
            models.Index(fields=["inviter", "-at"], name="refusal_by_inviter"),
        ]

    def __str__(self) -> str:
        return f"{self.call}: {self.outcome}"


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
