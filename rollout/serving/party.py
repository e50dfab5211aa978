"""Who a decision is about, put together from a token and the feed, or from what PostgreSQL knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from rollout.rules.decision.decision import GrantFact, Party
from rollout.rules.decision.person import read_grant, read_person
from rollout.rules.definition.clause import NOW_TRAIT
from rollout.serving.feed import Feed, merge


class BearerToken(Protocol):
    """A verified access token: its traits and grants as they were when it was issued (epoch seconds)."""

    @property
    def subscriber(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def issued_at(self) -> int: ...
    @property
    def expires_at(self) -> int: ...
    @property
    def traits(self) -> Mapping[str, Any]: ...
    @property
    def grants(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def frozen(self) -> frozenset[str]: ...


def party_of_token(token: BearerToken, feed: Feed, context: Mapping[str, Any] | None = None) -> Party:
    """The token's bearer, now: memory and token only.

    The token's traits beat the request's context, and the clock is never the context's: a phone decides neither.
    """
    grants: Mapping[str, GrantFact] = {
        feature: read_grant(raw, frozen=feature in token.frozen) for feature, raw in token.grants.items()
    }
    facts = feed.facts_for(token.subscriber, token.issued_at)
    traits = {**context, NOW_TRAIT: None, **token.traits} if context else token.traits
    return Party(token.subscriber, traits, merge(grants, facts) if facts else grants)


def party_of_row(row: Mapping[str, Any], context: Mapping[str, Any]) -> Party:
    """A subscriber as `rollout_people` gives them.

    A backend's context adds to the stored traits and beats them, since it knows which device is in hand.
    """
    party = read_person(row).party()
    return replace(party, traits={**party.traits, **context})


def party_of_context(unit: str, context: Mapping[str, Any]) -> Party:
    """Somebody whom Rollcall doesn't know: a unit for shares (may be empty) and the request's own traits; no grants."""
    return Party(unit, context, {})
