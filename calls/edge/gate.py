"""Who may call at all: the caller's own decision, from memory, and by PostgreSQL's word where memory has no grant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from calls.rules.grant_event import feature_name
from calls.rules.reach import WANTS_GRANT, with_grant
from rollout.rules.decision.decision import Cause, Decision, GrantFact, Party, decide
from rollout.rules.definition.feature import Switch
from rollout.serving.evaluations import told_to_phones
from rollout.serving.feed import Feed
from rollout.serving.party import party_of_token
from rollout.serving.ruleset import Rulesets

from .errors import NotEnabled, Stopped
from .tickets import Ticket
from .tokens import Token

Explain = Callable[[Decision], str]
CatchUp = Callable[[float], Awaitable[None]]
NEWS_SECONDS = 1.0  # how long an invite waits for PostgreSQL's news in a process that slept


class Gate:
    def __init__(self, rulesets: Rulesets, feed: Feed, explain: Explain, catch_up: CatchUp) -> None:
        self.rulesets = rulesets
        self.feed = feed
        self.explain = explain
        self._catch_up = catch_up

    async def catch_up(self) -> None:
        """A process that slept knows of kills and revocations again, if PostgreSQL answers."""
        await self._catch_up(NEWS_SECONDS)

    def require_on(self, feature: str) -> None:
        """Raises `Stopped` while the feature is off or killed: no new calls, for anybody."""
        compiled = self.rulesets.current.features.get(feature)
        if compiled is None:
            raise NotEnabled(
                f"{feature_name(feature)} are not offered by this service.",
                extra={
                    "cause": "unknown_feature",
                    "words": f"{feature_name(feature)} are not offered by this service.",
                },
            )
        if compiled.feature.switch is not Switch.ON:
            raise _stopped(feature, compiled.feature.switch)

    def require_on_by(self, read: Mapping[str, Any], feature: str) -> None:
        """The same by PostgreSQL's word: a process that slept through a kill lets nobody call when it wakes."""
        found = read["invite"]["feature"]
        if found is not None and found["switch"] != Switch.ON:
            raise _stopped(feature, found["switch"])

    def is_stopped(self, feature: str, created_at: int) -> bool:
        """Whether a call that began then has been told to stop."""
        compiled = self.rulesets.current.features.get(feature)
        stop = compiled.feature.stop_calls_before if compiled else None
        return stop is not None and created_at < stop

    def own_decision(self, token: Token, feature: str) -> Decision:
        mine = decide(self.rulesets.current, feature, party_of_token(token, self.feed), datetime.now(UTC))
        if not mine.enabled and mine.cause not in WANTS_GRANT:
            raise self._not_enabled(mine)
        return mine

    def require_enabled(self, token: Token, feature: str, mine: Decision, read: Mapping[str, Any]) -> str | None:
        """The caller's own grant by PostgreSQL's word, which may be newer than the token. Raises `NotEnabled`."""
        grant = read["invite"]["caller"]["grant"]
        if mine.enabled and (grant is not None or mine.cause in (Cause.LAUNCHED, Cause.RULE)):
            return str(grant["id"]) if grant else None
        party = party_of_token(token, self.feed)
        if grant is None:
            grants = {key: value for key, value in party.grants.items() if key != feature}
            again = decide(
                self.rulesets.current, feature, Party(party.subscriber, party.traits, grants), datetime.now(UTC)
            )
        else:
            held = with_grant(party, feature, GrantFact(id=grant["id"], source="operator"))
            again = decide(self.rulesets.current, feature, held, datetime.now(UTC))
        if not again.enabled:
            raise self._not_enabled(again)
        return str(grant["id"]) if grant else None

    def _not_enabled(self, decision: Decision) -> NotEnabled:
        words = self.explain(told_to_phones(self.rulesets.current, decision))
        return NotEnabled(words, extra={"cause": decision.cause, "words": words})

    def require_not_revoked(self, ticket: Ticket) -> None:
        """Memory alone never refuses for want of a grant, but a revocation that is newer than the ticket does."""
        since = ticket.made_at / 1000
        for row in self.feed.facts_for(ticket.caller, since):
            if row.kind == "grant.revoked" and str(row.payload.get("grant")) == ticket.caller_grant:
                name = feature_name(ticket.feature)
                words = f"{name} were taken back from you."
                raise NotEnabled(words, extra={"cause": "waiting_for_launch", "words": words})


def _stopped(feature: str, switch: str) -> Stopped:
    return Stopped(
        f"{feature_name(feature)} are stopped for everybody at the moment. Try again later.",
        extra={"cause": "killed" if switch == Switch.KILLED else "switched_off"},
    )
