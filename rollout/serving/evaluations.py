"""Decisions as OFREP writes them: one flag's evaluation, and the bytes of a whole bulk answer.

What clients trip over is done on purpose: `variant` is always sent; `reason` is always one of OpenFeature's; metadata
is flat; floats keep their point. A decision that doesn't vary is written once per ruleset.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import Any

import orjson

from rollout.rules.decision.decision import EMPTY, Cause, Compiled, Decision, Party, Reason, Ruleset, decide_all
from rollout.rules.decision.time_dependence import depends_on_time
from rollout.rules.decision.words import say

MOST_WRITTEN = 10_000  # decisions remembered as bytes
MOST_KEPT = 32 * 1024 * 1024  # bytes of whole answers
MOST_ASKED = 50_000  # requests remembered, so that an answer is kept once it is asked for a second time


def visible(ruleset: Ruleset, feature: str) -> bool:
    """Whether phones may know of the feature at all."""
    compiled = ruleset.features.get(feature)
    return compiled is not None and compiled.feature.visible_to_phones


def told_to_phones(ruleset: Ruleset, decision: Decision) -> Decision:
    """The decision without the name of a feature that phones may not know of."""
    if decision.cause is not Cause.NEEDS_FEATURE or visible(ruleset, decision.detail.get("needs", "")):
        return decision
    return Decision(decision.feature, decision.value, decision.variant, decision.reason, decision.cause)


def item(decision: Decision) -> dict[str, Any]:
    """One evaluation, or one failed evaluation.

    The ruleset's version isn't in it: clients compare items to tell which flags a new ruleset changed.
    """
    if decision.cause is Cause.UNKNOWN_FEATURE:
        return not_found(decision.feature)
    if decision.reason is Reason.ERROR:
        return {"key": decision.feature, "errorCode": "GENERAL", "errorDetails": say(decision)}
    return {
        "key": decision.feature,
        "value": decision.value,
        "reason": str(decision.reason),
        "variant": decision.variant,
        "metadata": {**decision.detail, "cause": str(decision.cause)},
    }


def not_found(key: str) -> dict[str, Any]:
    """The same for a flag that isn't there and for one that the caller may not know of."""
    return {"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": f"There is no feature {key[:64]!r}."}


class Evaluations:
    """Writes answers, and keeps those that are asked for again: of one ruleset only, the current one."""

    def __init__(self) -> None:
        self._ruleset = EMPTY
        self._features: dict[bool, tuple[Compiled, ...]] = {True: (), False: ()}
        self._written: dict[bool, dict[int, tuple[Decision, bytes]]] = {True: {}, False: {}}
        self._kept: OrderedDict[Hashable, tuple[bytes, str]] = OrderedDict()
        self._asked: set[int] = set()
        self._size = 0
        self.may_keep = True  # whether an answer of this ruleset stays right as time passes

    def begin(self, ruleset: Ruleset) -> None:
        """What was written by another ruleset is forgotten, and that ruleset is let go."""
        if ruleset is self._ruleset:
            return
        self._ruleset = ruleset
        everything = tuple(ruleset.features.values())
        announced = tuple(compiled for compiled in everything if compiled.feature.visible_to_phones)
        self._features = {True: announced, False: everything}
        self._written = {True: {}, False: {}}
        self._kept.clear()
        self._asked.clear()
        self._size = 0
        self.may_keep = not depends_on_time(ruleset)

    def kept(self, ruleset: Ruleset, mark: Hashable) -> tuple[bytes, str] | None:
        """The answer and its ETag, if one was kept under this mark by this ruleset."""
        self.begin(ruleset)
        found = self._kept.get(mark)
        if found is not None:
            self._kept.move_to_end(mark)
        return found

    def keep(self, ruleset: Ruleset, mark: Hashable, body: bytes, etag: str) -> None:
        """From the second time on: most contexts come once, and would only push out what is asked for again."""
        if ruleset is not self._ruleset or not self.may_keep:
            return
        asked = hash(mark)
        if asked not in self._asked:
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked.add(asked)
            return
        self._kept[mark] = (body, etag)
        self._size += len(body)
        while self._size > MOST_KEPT:
            self._size -= len(self._kept.popitem(last=False)[1][0])

    def flags(self, ruleset: Ruleset, party: Party, now: datetime, *, phone: bool) -> bytes:
        """All evaluations as JSON, with commas between; a phone sees what is announced to phones only."""
        self.begin(ruleset)
        written = self._written[phone]
        parts = []
        for decision in decide_all(self._features[phone], party, now):
            found = written.get(id(decision))
            if found is not None and found[0] is decision:
                parts.append(found[1])
            else:
                parts.append(self._write(ruleset, decision, phone=phone))
        return b",".join(parts)

    def _write(self, ruleset: Ruleset, decision: Decision, *, phone: bool) -> bytes:
        told = told_to_phones(ruleset, decision) if phone else decision
        body = orjson.dumps(item(told))
        written = self._written[phone]
        if len(written) >= MOST_WRITTEN:  # of those made anew for each person; the others are soon written again
            written.clear()
        written[id(decision)] = (decision, body)  # holding it, so that its id stays its own
        return body
