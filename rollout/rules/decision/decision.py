"""The decision: who has a feature, with which variant, and why.

Pure and total: nothing is drawn, written or fetched, and no input raises. The order, first decisive wins:
switch (killed, off) → requirements → prerequisites → access (everyone; a live grant; the rules) → default.
Every feature is compiled once, to closures over its constants; decisions that don't vary are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from rollout.rules.definition.area import AreaPlace
from rollout.rules.definition.audience import AnyOf
from rollout.rules.definition.clause import Test
from rollout.rules.definition.feature import Feature

NOTHING: Mapping[str, Any] = {}


class Reason(StrEnum):
    """OpenFeature's resolution reasons."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"


class Cause(StrEnum):
    """Why, in Rollcall's own closed words; `rollout.rules.decision.words` says each as a sentence."""

    KILLED = "killed"
    SWITCHED_OFF = "switched_off"
    UPDATE_REQUIRED = "update_required"
    OS_UPDATE_REQUIRED = "os_update_required"
    DEVICE_UNSUPPORTED = "device_unsupported"
    NEEDS_FEATURE = "needs_feature"
    WAITING_FOR_WAVE = "waiting_for_wave"
    WAITING_FOR_LAUNCH = "waiting_for_launch"
    GRANTED_BY_WAVE = "granted_by_wave"
    GRANTED_BY_INVITE = "granted_by_invite"
    GRANTED_BY_OPERATOR = "granted_by_operator"
    GRANTED_BY_SEED = "granted_by_seed"
    GRANTED_BY_LAUNCH = "granted_by_launch"
    LAUNCHED = "launched"
    RULE = "rule"
    DEFAULT = "default"
    UNKNOWN_FEATURE = "unknown_feature"
    ERROR = "error"


GIVING = frozenset(
    {
        Cause.GRANTED_BY_WAVE,
        Cause.GRANTED_BY_INVITE,
        Cause.GRANTED_BY_OPERATOR,
        Cause.GRANTED_BY_SEED,
        Cause.GRANTED_BY_LAUNCH,
        Cause.LAUNCHED,
        Cause.RULE,
    }
)


@dataclass(frozen=True, slots=True)
class GrantFact:
    """A live grant, as far as a decision needs it. `at` is in seconds since 1970; a frozen one can't invite."""

    id: int
    source: str
    depth: int = 0
    root: int | None = None
    at: float = 0.0
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Party:
    """Whom a decision is about. An empty `subscriber` is somebody unknown: no share ever covers them."""

    subscriber: str
    traits: Mapping[str, Any] = field(default_factory=dict)
    grants: Mapping[str, GrantFact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a traced decision: what it looked at, and whether it decided."""

    step: str
    decided: bool
    seen: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Decision:
    """`detail` holds flat facts that belong to the cause, such as the version that an update must reach."""

    feature: str
    value: Any
    variant: str
    reason: Reason
    cause: Cause
    detail: Mapping[str, Any] = field(default_factory=dict)
    trace: tuple[Step, ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether the person has the feature: something gives it, and its value isn't plainly false."""
        return self.cause in GIVING and self.value is not False


Decide = Callable[[Party, datetime], Decision]
Attempt = Callable[[Party, datetime], Decision | None]
Seen = Callable[[Party, datetime], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A feature ready to decide. `own` leaves prerequisites out, since these stand in `needs`, written out flat.

    `last` is access and default in one function where the rules decide, None elsewhere. `audiences` are all that its
    rules and waves may name.
    """

    feature: Feature
    steps: tuple[tuple[str, Attempt, Seen], ...]
    own: Decide
    decide: Decide
    needs: tuple[Compiled, ...] = ()
    last: Attempt | None = None
    audiences: Mapping[str, AnyOf] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiKeyFact:
    """A backend's key as it travels with the ruleset: known by its SHA-256. `expires_at` in epoch milliseconds."""

    id: str
    name: str
    scopes: frozenset[str]
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that decisions need, immutable.

    `digest` is the SHA-256 of its canonical JSON, in hex; `signature` tells two of one version apart, which a restored
    database may hold.
    """

    version: int
    published_at: int
    features: Mapping[str, Compiled]
    audiences: Mapping[str, AnyOf] = field(default_factory=dict)
    tests: Mapping[str, Test] = field(default_factory=dict)
    api_keys: Mapping[str, ApiKeyFact] = field(default_factory=dict)
    areas: tuple[AreaPlace, ...] = ()
    digest: str = ""
    signature: bytes = b""


EMPTY = Ruleset(version=0, published_at=0, features={})


def decide(ruleset: Ruleset, feature_key: str, party: Party, now: datetime, *, trace: bool = False) -> Decision:
    """What this party gets of this feature at this moment. `trace` adds each step with what it compared (slower)."""
    compiled = ruleset.features.get(feature_key)
    if compiled is None:
        return Decision(feature_key, None, "", Reason.ERROR, Cause.UNKNOWN_FEATURE)
    try:
        if trace:
            return _traced(compiled, party, now)
        return compiled.decide(party, now)
    except Exception as error:  # a fault in one feature must not take the others along; the caller sees it as ERROR
        return _failed(compiled.feature, error)


def decide_all(features: Collection[Compiled], party: Party, now: datetime) -> list[Decision]:
    """What this party gets of each of these features, in their order; the same as `decide` of each, in less time."""
    try:
        return [compiled.decide(party, now) for compiled in features]
    except Exception:  # a fault in one feature must not take the others along
        return [_decided(compiled, party, now) for compiled in features]


def _decided(compiled: Compiled, party: Party, now: datetime) -> Decision:
    try:
        return compiled.decide(party, now)
    except Exception as error:
        return _failed(compiled.feature, error)


def _failed(feature: Feature, error: Exception) -> Decision:
    value = feature.variants[feature.off]
    return Decision(feature.key, value, feature.off, Reason.ERROR, Cause.ERROR, {"error": type(error).__name__})


def _traced(compiled: Compiled, party: Party, now: datetime) -> Decision:
    taken: list[Step] = []
    for name, attempt, seen in compiled.steps:
        decision = attempt(party, now)
        taken.append(Step(name, decision is not None, seen(party, now)))
        if decision is not None:
            return replace(decision, trace=tuple(taken))
    raise AssertionError("the last step of a feature always decides")
