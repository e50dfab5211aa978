"""Whether an invite by call may go out, judged from the facts that `rollout_invite_facts` reads.

`rollout_invite_verdict` judges the same facts inside the database when a place is taken; a test holds both together.

What a caller may learn is about himself and the window only, so every outcome that concerns them comes before every one
that concerns the callee, and `decide_for_inviter` looks at nothing of the callee but the area. What is shown is judged
by the facts of an unknown person of the number's country, which the caller knows (docs/decisions/0009).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from rollout.rules.decision.grant import GrantState
from rollout.rules.definition.area import AreaState
from rollout.rules.definition.feature import Switch
from rollout.rules.limits import INVITES_PER_MINUTE
from rollout.rules.spread.window import WindowState
from rollout.rules.spread.window import is_open as window_is_open


class Outcome(StrEnum):
    """The closed list of what can become of an invite. `ok`: it may go out; `reserved`: a place is held."""

    OK = "ok"
    RESERVED = "reserved"
    GRANTED = "granted"
    ALREADY = "already"
    WINDOW_CLOSED = "window_closed"
    BUDGET_SPENT = "budget_spent"
    THROTTLED = "throttled"
    QUOTA_SPENT = "quota_spent"
    DEPTH = "depth"
    ROOT_BUDGET = "root_budget"
    INVITER_TOO_NEW = "inviter_too_new"
    INVITER_FROZEN = "inviter_frozen"
    RATE_LIMITED = "rate_limited"
    CALLEE_INELIGIBLE = "callee_ineligible"
    CALLEE_OPTED_OUT = "callee_opted_out"
    NO_RESERVATION = "no_reservation"


CALLEE_ONLY = frozenset({Outcome.CALLEE_INELIGIBLE, Outcome.CALLEE_OPTED_OUT, Outcome.ALREADY})


@dataclass(frozen=True, slots=True)
class InviterGrant:
    id: int
    state: str
    depth: int
    root: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Callee:
    """`reserved` says that a place is held for them by somebody else's ringing call."""

    accepts_invites: bool
    blocked: bool
    reserved: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Window:
    id: int
    state: str
    activate_on: str
    depth_limit: int | None
    budget: int
    used: int
    pending: int
    min_grant_age: timedelta
    closes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Places:
    used: int
    pending: int
    allowed: int | None

    def left(self) -> bool:
        return self.allowed is None or self.used + self.pending < self.allowed


@dataclass(frozen=True, slots=True)
class Area:
    key: str
    state: str
    reason: str
    remaining: int
    valid_until: datetime
    retry_at: datetime


def moment(milliseconds: int) -> datetime:
    """A time in UTC from milliseconds since 1970."""
    return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(milliseconds=milliseconds)


@dataclass(frozen=True, slots=True)
class InviteFacts:
    switch: str
    inviter: InviterGrant | None
    recent: int
    callee: Callee | None
    window: Window | None
    quota: Places
    root: Places
    area: Area | None

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> InviteFacts:
        """The facts as `rollout_invite_facts` answers them."""
        grant, callee, window, area = raw["caller"]["grant"], raw["callee"], raw["window"], raw["area"]
        return cls(
            switch=raw["feature"]["switch"] if raw["feature"] else "off",
            inviter=grant
            and InviterGrant(grant["id"], grant["state"], grant["depth"], grant["root"], moment(grant["at"])),
            recent=raw["caller"]["recent"],
            callee=callee
            and Callee(callee["accepts_invites"], callee["blocked"], callee["reserved"], callee["grant"] is not None),
            window=window
            and Window(
                id=window["id"],
                state=window["state"],
                activate_on=window["activate_on"],
                depth_limit=window["depth_limit"],
                budget=window["budget"],
                used=window["used"],
                pending=window["pending"],
                min_grant_age=timedelta(seconds=window["min_grant_age_s"]),
                closes_at=None if window["closes_at"] is None else moment(window["closes_at"]),
            ),
            quota=Places(**raw["inviter"]),
            root=Places(**raw["root"]),
            area=area
            and Area(
                key=area["key"],
                state=area["state"],
                reason=area["reason"],
                remaining=area["remaining"],
                valid_until=moment(area["valid_until"]),
                retry_at=moment(area["retry_at"]),
            ),
        )


@dataclass(frozen=True, slots=True)
class InviteVerdict:
    """`cause` is for operators. `retry_at` says when asking again may help; None when nobody can tell.

    What is in `CALLEE_ONLY` the caller must never learn; show him `decide_for_inviter` instead.
    """

    outcome: Outcome
    cause: str = ""
    retry_at: datetime | None = None


OK = InviteVerdict(Outcome.OK)


def decide(facts: InviteFacts, now: datetime) -> InviteVerdict:
    """The whole verdict, first decisive wins. `already` means that no invite is needed: call plainly."""
    callee = facts.callee
    if callee is not None and callee.enabled and not callee.blocked:
        return InviteVerdict(Outcome.ALREADY)
    verdict = decide_for_inviter(facts, now)
    if verdict.outcome is not Outcome.OK:
        return verdict
    if callee is None:
        return InviteVerdict(Outcome.CALLEE_INELIGIBLE, "unknown")
    if callee.blocked:
        return InviteVerdict(Outcome.CALLEE_OPTED_OUT, "blocked")
    if not callee.accepts_invites:
        return InviteVerdict(Outcome.CALLEE_OPTED_OUT, "no_invites")
    if callee.reserved:
        return InviteVerdict(Outcome.CALLEE_INELIGIBLE, "reserved_elsewhere")
    return OK


def decide_for_inviter(facts: InviteFacts, now: datetime) -> InviteVerdict:
    """What stands between this inviter and an invite, whoever the callee is: this much may be shown."""
    inviter = facts.inviter
    if inviter is None:
        return InviteVerdict(Outcome.INVITER_FROZEN, "no_grant")
    if inviter.state == GrantState.FROZEN:
        return InviteVerdict(Outcome.INVITER_FROZEN)
    if facts.recent >= INVITES_PER_MINUTE:
        return InviteVerdict(Outcome.RATE_LIMITED, retry_at=now + timedelta(minutes=1))
    if facts.switch != Switch.ON:
        return InviteVerdict(Outcome.WINDOW_CLOSED, f"feature_{facts.switch}")
    window = facts.window
    if window is None:
        return InviteVerdict(Outcome.WINDOW_CLOSED, "no_window")
    if not is_open(window, now):
        return InviteVerdict(Outcome.WINDOW_CLOSED)
    if window.depth_limit is not None and inviter.depth + 1 > window.depth_limit:
        return InviteVerdict(Outcome.DEPTH)
    if inviter.at + window.min_grant_age > now:
        return InviteVerdict(Outcome.INVITER_TOO_NEW, retry_at=inviter.at + window.min_grant_age)
    if not facts.quota.left():
        return InviteVerdict(Outcome.QUOTA_SPENT)
    if not facts.root.left():
        return InviteVerdict(Outcome.ROOT_BUDGET)
    if window.used + window.pending >= window.budget:
        return InviteVerdict(Outcome.BUDGET_SPENT)
    return _capacity(facts.area, now)


def _capacity(area: Area | None, now: datetime) -> InviteVerdict:
    """Unknown is never good: no area, an area nobody measures, and allowance that ran out all throttle."""
    if area is None:
        return InviteVerdict(Outcome.THROTTLED, "no_area")
    if area.state == AreaState.HOLD:
        return InviteVerdict(Outcome.THROTTLED, "hold", area.retry_at)
    if area.state != AreaState.RAMP or area.valid_until <= now:
        return InviteVerdict(Outcome.THROTTLED, "capacity_unknown", area.retry_at)
    if area.remaining <= 0:
        return InviteVerdict(Outcome.THROTTLED, "allowance_spent", area.retry_at)
    return OK


def is_open(window: Window, now: datetime) -> bool:
    """Whether invites go through it: its row says open and its closing time hasn't come."""
    return window_is_open(WindowState(window.state), window.closes_at, now)


def window_view(facts: InviteFacts, now: datetime) -> dict[str, Any]:
    """What everybody may know of the window: `{"state": "open" | "closed" | "none", "closes_at"?: milliseconds}`."""
    window = facts.window
    if window is None:
        return {"state": "none"}
    if not is_open(window, now):
        return {"state": "closed"}
    if window.closes_at is None:
        return {"state": "open"}
    return {"state": "open", "closes_at": round(window.closes_at.timestamp() * 1000)}
