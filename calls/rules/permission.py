"""May this person call that one now: plainly, by an invite that turns calling on, or not?

Judged from the ruleset and from what one query read (`calls_permission`), and from nothing else. A refusal shows the
caller's and the window's facts only, as they are for an unknown number of the same country.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from rollout.rules.decision.decision import Cause, Decision, GrantFact, Party, Ruleset, decide
from rollout.rules.decision.grant import Source
from rollout.rules.decision.person import Person, read_person
from rollout.rules.definition.feature import Switch
from rollout.rules.spread.invite import Outcome, told, window_view

STOPPED = {Switch.KILLED: Cause.KILLED, Switch.OFF: Cause.SWITCHED_OFF}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a refusal tells: the window, what stands in the caller's own way (`ok`: nothing), when to try again (ms)."""

    window: Mapping[str, Any]
    invite: Outcome
    retry_at: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides it, read at one moment. `listed` are the devices in the callee's signed list.

    `outcome` and `cause` are of an invite to the callee through `window`, as PostgreSQL judged it.
    """

    at: datetime
    switch: Switch
    caller: Person
    callee: Person | None
    listed: Collection[str]
    blocked: bool
    outcome: Outcome
    cause: str
    window: int | None
    shown: Shown


@dataclass(frozen=True, slots=True)
class Permitted:
    """The callee may be called on `devices`; with `activates`, answering turns the feature on.

    `grant` is the id of the caller's own, if it is by one that they have the feature; `window` is what everybody may
    know of it.
    """

    callee: Person
    devices: tuple[str, ...]
    activates: bool
    grant: int | None
    window: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotYours:
    """The caller hasn't the feature, and why."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class NotNow:
    """The callee can't be called now. `outcome` and `cause` are for operators only."""

    outcome: Outcome
    cause: str
    window: int | None
    shown: Shown


Permission = Permitted | NotYours | NotNow


def read_facts(read: Mapping[str, Any], listed: Collection[str]) -> Facts:
    """What `calls_permission` gave about a caller that there is, and the devices of the callee's list."""
    invite, shown = read["invite"], read["shown"]
    retry_at = shown.get("retry_at")
    return Facts(
        at=datetime.fromtimestamp(read["at"] / 1000, UTC),
        switch=Switch(read["switch"] or Switch.OFF),
        caller=read_person(read["caller"]),
        callee=read_person(read["callee"]) if read["callee"] else None,
        listed=listed,
        blocked=read["blocked"],
        outcome=Outcome(invite["outcome"]),
        cause=invite.get("cause", ""),
        window=invite.get("window"),
        shown=Shown(
            window_view(shown["window"]),
            told(Outcome(shown["outcome"])),
            None if retry_at is None else -(-retry_at // 1000) * 1000,
        ),
    )


def judge(ruleset: Ruleset, feature: str, device: str, facts: Facts) -> Permission:
    """The whole answer, for the caller with this device in hand."""
    mine = decide(ruleset, feature, facts.caller.party(device), facts.at)
    if mine.enabled and facts.switch in STOPPED:  # PostgreSQL knows of a kill first
        mine = replace(mine, cause=STOPPED[facts.switch])
    if not mine.enabled:
        return NotYours(mine)
    callee = facts.callee
    if callee is None:
        return _not_now(facts, Outcome.CALLEE_INELIGIBLE, "unknown")
    if callee.id == facts.caller.id:
        return _not_now(facts, Outcome.CALLEE_INELIGIBLE, "oneself")
    if facts.blocked:
        return _not_now(facts, Outcome.CALLEE_OPTED_OUT, "blocked")
    phones = {each: callee.party(each) for each in callee.devices if each in facts.listed}
    if not phones:
        return _not_now(facts, Outcome.CALLEE_INELIGIBLE, "no_device")
    plain = [each for each, party in phones.items() if decide(ruleset, feature, party, facts.at).enabled]
    if plain:
        return _permitted(facts, callee, feature, plain, activates=False)
    invited = {each: decide(ruleset, feature, _invited(party, feature), facts.at) for each, party in phones.items()}
    could = [each for each, decision in invited.items() if decision.enabled]
    if not could:
        return _not_now(facts, Outcome.CALLEE_INELIGIBLE, next(iter(invited.values())).cause)
    if facts.outcome is not Outcome.OK:
        return _not_now(facts, facts.outcome, facts.cause)
    return _permitted(facts, callee, feature, could, activates=True)


def _permitted(facts: Facts, callee: Person, feature: str, devices: Sequence[str], *, activates: bool) -> Permitted:
    grant = facts.caller.grants.get(feature)
    return Permitted(callee, tuple(devices), activates, grant.id if grant else None, facts.shown.window)


def _invited(party: Party, feature: str) -> Party:
    return replace(party, grants={**party.grants, feature: GrantFact(0, Source.INVITE)})


def _not_now(facts: Facts, outcome: Outcome, cause: str) -> NotNow:
    return NotNow(outcome, cause, facts.window, facts.shown)
