"""Every closed set of the rules with the words that pages show for it: what the columns' values are chosen from."""

from __future__ import annotations

from controlplane.base.wording import labelled
from rollout.rules.decision.grant import GrantState, Source
from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Access, FeatureKind, Switch, WaveState
from rollout.rules.spread.window import ActivateOn, ReservationState, WindowState

SWITCH = labelled(
    Switch,
    {
        Switch.OFF: "Off: no new calls, running ones finish",
        Switch.KILLED: "Killed: stopped for everybody",
    },
)
ACCESS = labelled(
    Access,
    {
        Access.GRANTED: "Granted: holders of a live grant",
        Access.RULES: "Rules: the rules decide",
        Access.EVERYONE: "Everyone: launched",
    },
)
FEATURE_KIND = labelled(FeatureKind)
WAVE_STATE = labelled(WaveState)
WINDOW_STATE = labelled(WindowState)
ACTIVATE_ON = labelled(
    ActivateOn, {ActivateOn.ANSWERED: "The call is answered", ActivateOn.OFFERED: "The call is offered"}
)
SOURCE = labelled(Source)
GRANT_STATE = labelled(GrantState)
RESERVATION_STATE = labelled(ReservationState, {ReservationState.CANCELLED: "Cancelled by closing the window"})
AREA_STATE = labelled(
    AreaState,
    {
        AreaState.RAMP: "Taking people in",
        AreaState.HOLD: "Held: load is too high",
        AreaState.UNKNOWN: "Held: the load is not known",
    },
)
