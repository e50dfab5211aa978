"""Who may have what, when, and why: features, rulesets, waves, windows, grants and areas."""

from __future__ import annotations

from rollout.models.areas import (
    Allowance,
    Area,
    CallEvidence,
    CapacityDecision,
    Measurement,
)
from rollout.models.features import Audience, Feature, Headcount, Ruleset
from rollout.models.grants import (
    Grant,
    InviterPlaces,
    Refusal,
    Reservation,
    RootPlaces,
)
from rollout.models.plans import Wave, Window
from rollout.rules.decision.grant import GrantState, Source
from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, FeatureKind, Switch, WaveState
from rollout.rules.spread.window import ActivateOn, ReservationState, WindowState

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
    "GrantState",
    "Headcount",
    "InviterPlaces",
    "Measurement",
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
