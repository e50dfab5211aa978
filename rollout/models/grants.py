"""Who has what, and the ledger of places: grants, reservations, refusals."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from controlplane.accounts.models import Subscriber
from rollout.models import labels
from rollout.models.areas import Area
from rollout.models.features import Feature
from rollout.models.plans import Wave, Window
from rollout.rules.decision.grant import LIVE, GrantState, Source
from rollout.rules.spread.window import ReservationState


class GrantQuerySet(models.QuerySet["Grant"]):
    def live(self) -> GrantQuerySet:
        """Grants that give the feature: a frozen inviter keeps it and only can't invite."""
        return self.filter(state__in=LIVE)

    def settled(self) -> GrantQuerySet:
        """Grants after which a wave leaves the person alone: live ones, and those that an operator took away."""
        return self.filter(state__in=[*LIVE, GrantState.REVOKED])


class Grant(models.Model):
    """One person's hold on one feature, and, for source `invite`, an edge of the invite graph."""

    id = models.BigAutoField(primary_key=True)
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="grants")
    subscriber = models.ForeignKey(
        Subscriber, null=True, on_delete=models.PROTECT, related_name="grants", help_text="Null once they have left"
    )
    source = models.CharField(max_length=8, choices=labels.SOURCE)
    wave = models.ForeignKey(Wave, null=True, on_delete=models.PROTECT, related_name="grants")
    window = models.ForeignKey(Window, null=True, on_delete=models.PROTECT, related_name="grants")
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="children")
    root = models.BigIntegerField(null=True, help_text="Id of the first grant of this branch; null for a root itself")
    depth = models.PositiveIntegerField(default=0, db_default=0)
    call = models.UUIDField(null=True)
    area = models.ForeignKey(Area, null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(
        max_length=10, choices=labels.GRANT_STATE, default=GrantState.ACTIVE.value, db_default=GrantState.ACTIVE.value
    )
    granted_at = models.DateTimeField(db_default=Now())
    granted_by = models.CharField(max_length=150, blank=True, default="", db_default="")

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["feature", "subscriber"],
                condition=Q(state__in=[state.value for state in LIVE]),
                name="one_live_grant_per_person",
            ),
            models.UniqueConstraint(
                fields=["feature", "call"], condition=Q(call__isnull=False), name="one_grant_per_call"
            ),
            models.CheckConstraint(
                condition=~Q(state__in=[state.value for state in LIVE]) | Q(subscriber__isnull=False),
                name="live_grant_has_its_person",
            ),
            models.CheckConstraint(
                condition=~Q(source=Source.INVITE.value)
                | Q(parent__isnull=False, window__isnull=False, call__isnull=False),
                name="invite_grant_knows_its_origin",
            ),
        ]
        indexes = [
            models.Index(fields=["parent"], name="grant_by_parent", condition=Q(parent__isnull=False)),
            models.Index(fields=["window"], name="grant_by_window", condition=Q(window__isnull=False)),
            models.Index(fields=["wave"], name="grant_by_wave", condition=Q(wave__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"grant {self.pk}"


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


class Reservation(models.Model):
    """A place held while a call rings. It becomes a grant inside the accept, or is given back."""

    id = models.BigAutoField(primary_key=True)
    feature = models.ForeignKey(Feature, on_delete=models.PROTECT, related_name="+")
    call = models.UUIDField()
    window = models.ForeignKey(Window, on_delete=models.PROTECT, related_name="reservations")
    inviter = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="+")
    root = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="+")
    callee = models.ForeignKey(Subscriber, null=True, on_delete=models.PROTECT, related_name="+")
    depth = models.PositiveIntegerField()
    area = models.ForeignKey(Area, null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=labels.RESERVATION_STATE)
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
                fields=["feature", "callee"],
                condition=Q(state=ReservationState.PENDING.value),
                name="one_pending_reservation_per_callee",
            ),
            models.CheckConstraint(
                condition=Q(state=ReservationState.COMPLETED.value, grant__isnull=False)
                | (~Q(state=ReservationState.COMPLETED.value) & Q(grant__isnull=True)),
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
