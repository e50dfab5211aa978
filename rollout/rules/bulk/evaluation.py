"""One feature decided for a whole table of people, with the same answers as `decide` gives row by row.

A feature is planned once for a table: traits are judged once per distinct value, audiences become masks, ids are hashed
many at once, and only where a share asks for it. The steps then run chunk by chunk, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rollout.rules.bulk.masks import Flags, Mask, Masks
from rollout.rules.bulk.table import Judge, Table, read_table, source_of
from rollout.rules.decision.compiling import GRANTED, TO_COME, UNMET, given, outcomes_of, refused, turn
from rollout.rules.decision.decision import Cause, Compiled, Decision, Reason
from rollout.rules.decision.grant import Source
from rollout.rules.definition.audience import traits_in
from rollout.rules.definition.bucket import MILLION, least_hash_beyond
from rollout.rules.definition.feature import Access, Feature, Rule, Switch
from rollout.rules.definition.requirements import Unmet, of_class, reaches

CHUNK = 1 << 16  # rows
OPEN = 0xFFFF  # stands for a row that no step has decided yet

Outcomes = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Verdicts:
    """`outcome[row]` is a place in `outcomes`: the row's decision, without the bucket of those who wait for a wave."""

    outcomes: tuple[Decision, ...]
    outcome: Outcomes

    @property
    def variants(self) -> tuple[str, ...]:
        """The names that `variant` counts in."""
        return tuple(dict.fromkeys(each.variant for each in self.outcomes))

    @property
    def variant(self) -> NDArray[np.uint16]:
        """For every row the place of its variant in `variants`."""
        names = self.variants
        return self._each(lambda decision: names.index(decision.variant), np.uint16)

    @property
    def cause(self) -> NDArray[np.uint16]:
        """For every row the place of its cause in `list(Cause)`."""
        causes = list(Cause)
        return self._each(lambda decision: causes.index(decision.cause), np.uint16)

    @property
    def enabled(self) -> Flags:
        return self._each(lambda decision: decision.enabled, np.bool_)

    def _each(self, what: Callable[[Decision], Any], kind: type) -> NDArray[Any]:
        return np.array([what(each) for each in self.outcomes], kind)[self.outcome]


def evaluate_many(feature: Compiled, table: Any, now: datetime) -> Verdicts:
    """Decide a feature for every row of a table (`rollout.rules.bulk.table` says what may be one).

    The values and causes are those of `decide` with the party that the row stands for. Raises `Invalid` when a column
    can't be used.
    """
    rows = read_table(table)
    plan = _Plan(rows, feature, now)
    steps = plan.with_needs(feature)
    found = np.full(rows.size, OPEN, np.uint16)
    for first in range(0, rows.size, CHUNK):
        chunk = _Chunk(rows, slice(first, min(first + CHUNK, rows.size)))
        _run(steps, chunk, found[chunk.rows])
    return Verdicts(tuple(plan.outcomes), found)


def traits_needed(features: Iterable[Compiled]) -> frozenset[str]:
    """The traits that a table must have to decide the features, and those that they need, as `decide` would."""
    found: set[str] = set()
    for compiled in features:
        for each in (compiled.feature, *(need.feature for need in compiled.needs)):
            if each.requirements:
                found |= {"platform", "device_class", "os_version", "app_version"}
            for any_of in (*(rule.any_of for rule in each.rules), *(wave.any_of for wave in each.waves)):
                found |= traits_in(any_of, compiled.audiences)
    return frozenset(found)


def holdings_needed(features: Iterable[Compiled]) -> frozenset[str]:
    """The features whose grants the table must have."""
    concerned = (each.feature for compiled in features for each in (compiled, *compiled.needs))
    return frozenset(feature.key for feature in concerned if feature.access is Access.GRANTED)


@dataclass(slots=True)
class _Hashes:
    """The hashes of a chunk's ids after one prefix, each taken when it is first asked for."""

    values: NDArray[np.uint32]
    known: Flags


@dataclass(slots=True)
class _Chunk:
    table: Table
    rows: slice
    _hashes: dict[str, _Hashes] = field(default_factory=dict)

    def named(self, some: Flags) -> NDArray[np.intp]:
        """Of these rows those who have an id, as places within the chunk."""
        known = self.table.units.known(self.rows)
        return np.flatnonzero(some if known is None else some & known)

    def hashes(self, prefix: str, places: NDArray[np.intp]) -> NDArray[np.uint32]:
        size = self.rows.stop - self.rows.start
        held = self._hashes.setdefault(prefix, _Hashes(np.empty(size, np.uint32), np.zeros(size, np.bool_)))
        fresh = places[~held.known[places]]
        if len(fresh):
            held.values[fresh] = self.table.units.hashes(prefix, fresh + self.rows.start)
            held.known[fresh] = True
        return held.values[places]


Step = Callable[[_Chunk, Outcomes], None]  # decides some of the rows that are still open, in place


def _run(steps: list[Step], chunk: _Chunk, found: Outcomes) -> None:
    for step in steps:
        step(chunk, found)


class _Plan:
    def __init__(self, table: Table, feature: Compiled, now: datetime) -> None:
        self.outcomes: list[Decision] = []
        self._table = table
        self._masks = Masks(table, feature.audiences, now)

    def with_needs(self, compiled: Compiled) -> list[Step]:
        """The feature's steps, its prerequisites before access."""
        feature = compiled.feature
        if feature.switch is not Switch.ON:
            return self.alone(feature)
        needs = [self._need(feature, need.feature) for need in compiled.needs]
        return [*self._requirements(feature), *needs, *self._access(feature)]

    def alone(self, feature: Feature) -> list[Step]:
        if feature.switch is not Switch.ON:
            cause = Cause.KILLED if feature.switch is Switch.KILLED else Cause.SWITCHED_OFF
            return [self._rest(refused(feature, cause, Reason.DISABLED))]
        return [*self._requirements(feature), *self._access(feature)]

    def _place(self, decision: Decision) -> int:
        if len(self.outcomes) >= OPEN:
            raise OverflowError(f"more than {OPEN} outcomes")
        self.outcomes.append(decision)
        return len(self.outcomes) - 1

    def _rest(self, decision: Decision) -> Step:
        place = self._place(decision)

        def step(chunk: _Chunk, found: Outcomes) -> None:
            found[found == OPEN] = place

        return step

    def _where(self, mask: Mask, decision: Decision) -> Step:
        place = self._place(decision)

        def step(chunk: _Chunk, found: Outcomes) -> None:
            found[mask(chunk.rows) & (found == OPEN)] = place

        return step

    def _trait_is(self, name: str, judge: Judge) -> Mask:
        judged = self._table.trait(name).judged(judge)
        return lambda rows: judged(rows).astype(np.bool_)

    def _requirements(self, feature: Feature) -> list[Step]:
        """As `requirements.unmet` asks: platform, device class, then OS and app of each platform."""
        wanted, steps = feature.requirements, []

        def lacks(what: Unmet, needed: str) -> Decision:
            name = "trait" if what is Unmet.DEVICE_UNSUPPORTED else "version"
            return refused(feature, UNMET[what], Reason.DEFAULT, {name: needed})

        if not wanted.others_allowed:
            strange = self._trait_is("platform", lambda v: not (isinstance(v, str) and v in wanted.platforms))
            steps.append(self._where(strange, lacks(Unmet.DEVICE_UNSUPPORTED, "platform")))
        if wanted.device_classes:
            unfit = self._trait_is("device_class", lambda v: not of_class(v, wanted.device_classes))
            steps.append(self._where(unfit, lacks(Unmet.DEVICE_UNSUPPORTED, "device_class")))
        for platform, lowest in wanted.platforms.items():
            for what, trait, least in (
                (Unmet.OS_UPDATE_REQUIRED, "os_version", lowest.os),
                (Unmet.UPDATE_REQUIRED, "app_version", lowest.app),
            ):
                if least:
                    steps.append(self._where(self._older(platform, trait, least), lacks(what, least)))
        return steps

    def _older(self, platform: str, trait: str, least: str) -> Mask:
        here = self._trait_is("platform", lambda v: isinstance(v, str) and v == platform)
        older = self._trait_is(trait, lambda v: not reaches(v, least))
        return lambda rows: here(rows) & older(rows)

    def _need(self, feature: Feature, need: Feature) -> Step:
        first = len(self.outcomes)
        steps = self.alone(need)
        inner = self.outcomes[first:]
        refusals: dict[Cause, int] = {}
        mine = np.full(len(self.outcomes), OPEN, np.uint16)
        for place, decision in enumerate(inner, first):
            if not decision.enabled:
                detail = {"needs": need.key, "needs_cause": str(decision.cause)}
                if decision.cause not in refusals:
                    refusals[decision.cause] = self._place(
                        refused(feature, Cause.NEEDS_FEATURE, Reason.DEFAULT, detail)
                    )
                mine[place] = refusals[decision.cause]

        def step(chunk: _Chunk, found: Outcomes) -> None:
            theirs = np.full(len(found), OPEN, np.uint16)
            _run(steps, chunk, theirs)
            told = mine[theirs]
            refusing = (told != OPEN) & (found == OPEN)
            found[refusing] = told[refusing]

        return step

    def _access(self, feature: Feature) -> list[Step]:
        match feature.access:
            case Access.EVERYONE:
                return [self._rest(given(feature, feature.default, Cause.LAUNCHED, Reason.STATIC))]
            case Access.RULES:
                return [*self._rules(feature), self._rest(refused(feature, Cause.DEFAULT, Reason.DEFAULT))]
            case Access.GRANTED:
                return self._granted(feature)

    def _granted(self, feature: Feature) -> list[Step]:
        places = {
            source: self._place(given(feature, feature.default, cause, Reason.TARGETING_MATCH))
            for source, cause in GRANTED.items()
        }

        def judge(value: Any) -> int:
            source = source_of(value)
            return places.get(source, places[Source.OPERATOR]) if source else OPEN

        held = self._table.grant(feature.key).judged(judge)

        def step(chunk: _Chunk, found: Outcomes) -> None:
            told = held(chunk.rows)
            holders = (told != OPEN) & (found == OPEN)
            found[holders] = told[holders]

        invite = {"invite": "open" if feature.windows_open else "closed"}
        steps: list[Step] = [step]
        for wave in feature.waves:
            if wave.state in TO_COME and wave.share_ppm:
                waits = refused(feature, Cause.WAITING_FOR_WAVE, Reason.DEFAULT, turn(wave) | invite)
                mask = self._masks.where(wave.any_of)
                steps.append(self._within(feature.salt, wave.share_ppm, mask, self._place(waits)))
        return [*steps, self._rest(refused(feature, Cause.WAITING_FOR_LAUNCH, Reason.DEFAULT, invite))]

    def _rules(self, feature: Feature) -> Iterator[Step]:
        for i, rule in enumerate(feature.rules):
            if not rule.share_ppm:
                continue
            mask = self._masks.where(rule.any_of)
            outcomes = outcomes_of(feature, rule, i)
            if len(outcomes) > 1:
                yield self._split(feature.salt, rule, mask, [self._place(each) for each in outcomes])
            elif rule.share_ppm != MILLION:
                yield self._within(feature.salt, rule.share_ppm, mask, self._place(outcomes[0]))
            else:
                yield self._where(mask, outcomes[0])

    def _within(self, salt: str, share_ppm: int, mask: Mask, place: int) -> Step:
        def step(chunk: _Chunk, found: Outcomes) -> None:
            found[_covered(chunk, salt, share_ppm, mask(chunk.rows) & (found == OPEN))] = place

        return step

    def _split(self, salt: str, rule: Rule, mask: Mask, places: list[int]) -> Step:
        ends, choices = np.cumsum(rule.weights_ppm), np.array(places, np.uint16)

        def step(chunk: _Chunk, found: Outcomes) -> None:
            some = _covered(chunk, salt, rule.share_ppm, mask(chunk.rows) & (found == OPEN))
            hashes = chunk.hashes(f"{salt}variant:", some).astype(np.uint64)
            positions = (hashes * np.uint64(MILLION) >> np.uint64(32)).astype(np.int64)
            found[some] = choices[np.searchsorted(ends, positions, side="right")]

        return step


def _covered(chunk: _Chunk, salt: str, share_ppm: int, some: Flags) -> NDArray[np.intp]:
    """Of these rows the ones with an id whose bucket is below the share, as places within the chunk."""
    places = chunk.named(some)
    if share_ppm == MILLION:
        return places
    return places[chunk.hashes(salt, places) < least_hash_beyond(share_ppm)]
