"""What memory says of features and grants, and what callers hear who may not call. `calls.rules.permission` judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from calls.rules.grant_event import feature_name
from calls.rules.permission import STOPPED
from controlplane.base.refusal import Refusal
from rollout.rules.decision.decision import Cause, Decision
from rollout.rules.decision.words import say
from rollout.serving.evaluations import told_to_phones
from rollout.serving.feed import Feed
from rollout.serving.ruleset import Rulesets

from .errors import NotEnabled, Stopped
from .tickets import Ticket

CatchUp = Callable[[float], Awaitable[None]]
NEWS_SECONDS = 1.0  # how long an invite waits for PostgreSQL's news in a process that slept


class Gate:
    def __init__(self, rulesets: Rulesets, feed: Feed, catch_up: CatchUp) -> None:
        self.rulesets = rulesets
        self.feed = feed
        self._catch_up = catch_up

    async def catch_up(self) -> None:
        """A process that slept knows of kills and revocations again, if PostgreSQL answers."""
        await self._catch_up(NEWS_SECONDS)

    def require_on(self, feature: str) -> None:
        """Raises `Stopped` while the feature is off or killed: no new calls, for anybody."""
        compiled = self.rulesets.current.features.get(feature)
        if compiled is None:
            raise _not_enabled(Cause.UNKNOWN_FEATURE, f"{feature_name(feature)} are not offered by this service.")
        if compiled.feature.switch in STOPPED:
            raise _stopped(feature, STOPPED[compiled.feature.switch])

    def is_stopped(self, feature: str, created_at: int) -> bool:
        """Whether a call that began then has been told to stop."""
        compiled = self.rulesets.current.features.get(feature)
        stop = compiled.feature.stop_calls_before if compiled else None
        return stop is not None and created_at < stop

    def not_yours(self, decision: Decision) -> Refusal:
        """What a caller hears who hasn't the feature."""
        if decision.cause in STOPPED.values():
            return _stopped(decision.feature, decision.cause)
        return _not_enabled(decision.cause, say(told_to_phones(self.rulesets.current, decision)))

    def require_not_revoked(self, ticket: Ticket) -> None:
        """Memory alone never refuses for want of a grant, but a revocation that is newer than the ticket does."""
        for row in self.feed.facts_for(ticket.identity.caller, ticket.made_at / 1000):
            if row.kind == "grant.revoked" and row.payload.get("grant") == ticket.caller_grant:
                words = f"{feature_name(ticket.identity.feature)} were taken back from you."
                raise _not_enabled(Cause.WAITING_FOR_LAUNCH, words)


def _not_enabled(cause: Cause, words: str) -> NotEnabled:
    return NotEnabled(words, extra={"cause": cause, "words": words})


def _stopped(feature: str, cause: Cause) -> Stopped:
    words = f"{feature_name(feature)} are stopped for everybody at the moment. Try again later."
    return Stopped(words, extra={"cause": cause})
