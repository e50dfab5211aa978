"""May this caller reach this person: plainly, by an invite that turns calling on, or not now?

Judged from what one query read (`calls_prepare`). A refusal shows the caller's and the window's facts only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rollout.rules.decision.decision import Cause, GrantFact, Party, Ruleset, decide
from rollout.rules.spread.invite import InviteFacts, InviteVerdict, Outcome, decide_for_inviter, window_view
from rollout.rules.spread.invite import decide as decide_invite

WANTS_GRANT = frozenset({Cause.WAITING_FOR_WAVE, Cause.WAITING_FOR_LAUNCH})
"""Causes that a grant would change."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a refusal tells: the window, what stands in the caller's own way (`ok`: nothing), when to try again (ms)."""

    window: dict[str, Any]
    invite: str
    retry_at: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """`outcome` `ok`: may be called on `devices`. Otherwise the exact outcome and cause, for operators only."""

    outcome: str
    cause: str
    devices: tuple[str, ...]
    activates: bool
    shown: Shown


def with_grant(party: Party, feature: str, grant: GrantFact) -> Party:
    return replace(party, grants={**party.grants, feature: grant})


def judge(ruleset: Ruleset, feature: str, caller: str, read: Mapping[str, Any], parties: Mapping[str, Party]) -> Reach:
    """The whole answer. `read` is what `calls_prepare` gave; `parties` is the callee with each listed device."""
    raw, facts = read["callee"], InviteFacts.from_json(read["invite"])
    now = datetime.fromtimestamp(read["invite"]["at"] / 1000, UTC)
    shown = show(InviteFacts.from_json(read["shown"]), now)
    if raw is None:
        return Reach(Outcome.CALLEE_INELIGIBLE, "unknown", (), False, shown)
    if raw["id"] == caller:
        return Reach(Outcome.CALLEE_INELIGIBLE, "oneself", (), False, shown)
    if read["blocked"]:
        return Reach(Outcome.CALLEE_OPTED_OUT, "blocked", (), False, shown)
    if not parties:
        return Reach(Outcome.CALLEE_INELIGIBLE, "no_device", (), False, shown)
    plain = tuple(device for device, party in parties.items() if decide(ruleset, feature, party, now).enabled)
    if plain:
        return Reach(Outcome.OK, "", plain, False, shown)
    granted = GrantFact(id=0, source="invite")
    could = tuple(
        device
        for device, party in parties.items()
        if decide(ruleset, feature, with_grant(party, feature, granted), now).enabled
    )
    if not could:
        first = decide(ruleset, feature, with_grant(next(iter(parties.values())), feature, granted), now)
        return Reach(Outcome.CALLEE_INELIGIBLE, first.cause, (), False, shown)
    verdict = decide_invite(facts, now)
    if verdict.outcome is Outcome.OK:
        return Reach(Outcome.OK, "", could, True, shown)
    return Reach(verdict.outcome, verdict.cause, (), False, shown)


def show(facts: InviteFacts, now: datetime) -> Shown:
    """What every refusal of this caller says at this moment, whoever is called in the country of these facts."""
    mine: InviteVerdict = decide_for_inviter(facts, now)
    retry = None if mine.retry_at is None else math.ceil(mine.retry_at.timestamp()) * 1000
    return Shown(window_view(facts, now), mine.outcome, retry)
