"""What can become of an invite by call, and what of that its inviter may be told.

`rollout_invite_verdict` judges, inside PostgreSQL, where places are taken under locks: there is no second judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


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


def told(outcome: Outcome) -> Outcome:
    """What the inviter may be told of it: nothing of the callee."""
    return Outcome.OK if outcome in CALLEE_ONLY else outcome


def window_view(window: Mapping[str, Any] | None) -> dict[str, Any]:
    """What everybody may know of a window among the facts of `rollout_invite_facts`, or of there being none:
    `{"state": "open" | "closed" | "none", "closes_at"?: milliseconds}`.
    """
    if window is None:
        return {"state": "none"}
    if not window["open"]:
        return {"state": "closed"}
    closes_at = window["closes_at"]
    return {"state": "open"} if closes_at is None else {"state": "open", "closes_at": closes_at}
