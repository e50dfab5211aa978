"""Who may have what, when, and why: features, rulesets, waves, windows, grants and areas."""

from __future__ import annotations

from rollout.models.areas import (
    Allowance,
    Area,
    AreaState,
    CallEvidence,
    CapacityDecision,
    Measurement,
    MeasurementQuerySet,
)
from rollout.models.features import (
    Access,
    Audience,
    Feature,
    FeatureKind,
    Headcount,
    Ruleset,
    Switch,
)
from rollout.models.grants import (
    Grant,
    GrantQuerySet,
    GrantState,
    InviterPlaces,
    Refusal,
    Reservation,
    ReservationState,
    RootPlaces,
    Source,
)
from rollout.models.plans import (
    ActivateOn,
    Wave,
    WaveState,
    Window,
    WindowState,
)

__all__ = [
    "Access",
    "ActivateOn",
    "Allowance",
    "Area",
    "AreaState",
    "Audience",
    "CallEvidence",
    "CapacityDecision",
    "Feature",
    "FeatureKind",
    "Grant",
    "GrantQuerySet",
    "GrantState",
    "Headcount",
    "InviterPlaces",
    "Measurement",
    "MeasurementQuerySet",
    "Refusal",
    "Reservation",
    "ReservationState",
    "RootPlaces",
    "Ruleset",
    "Source",
    "Switch",
    "Wave",
    "WaveState",
    "Window",
    "WindowState",
]
