"""What a change would do to people, before it is published: the question behind every preview."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.errors import AudienceUnknown, DocumentInvalid
from rollout.models import Audience
from rollout.questions.audiences import validate_audience
from rollout.questions.definitions import numbered, plan
from rollout.questions.features import proposed_feature
from rollout.questions.people import choose, tables
from rollout.questions.rulesets import build, feature_document
from rollout.rules.bulk.evaluation import holdings_needed, traits_needed
from rollout.rules.bulk.preview import TRAITS, Move, Tally, affected, as_json, compare
from rollout.rules.bulk.table import Table
from rollout.rules.definition.feature import Switch
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.definitions import proposed
from rollout.rules.ruleset.document import read_ruleset

USUAL_SAMPLE = 100_000  # people: less than a second
LARGEST_SAMPLE = 1_000_000  # of a request: some seconds
EVERYBODY = 10_000_000  # of a command, which says how far it is

Progress = Callable[[int, int], None]  # called with how many were looked at, of how many


@dataclass(frozen=True, slots=True)
class Preview:
    """`looked_at` of `people` were asked; `exact` says whether that number was counted or estimated."""

    looked_at: int
    people: int
    exact: bool
    assumed_on: bool
    tallies: tuple[Tally, ...]

    @property
    def everybody(self) -> bool:
        return self.exact and self.looked_at == self.people

    @property
    def widens(self) -> bool:
        return any(tally.widens for tally in self.tallies)

    @property
    def moves_anybody(self) -> bool:
        return any(tally.moves_anybody for tally in self.tallies)

    def as_json(self) -> dict[str, Any]:
        return {
            "looked_at": self.looked_at,
            "people": self.people,
            "everybody": self.everybody,
            "exact": self.exact,
            "assumed_on": self.assumed_on,
            "words": self.words,
            "features": [as_json(tally) for tally in self.tallies],
        }

    @property
    def words(self) -> list[str]:
        """Whom was looked at, and what happens to the people of each feature."""
        about = "about " if not self.exact else ""
        if self.everybody:
            lines = [f"All {self.people:,} subscribers were looked at."]
        else:
            lines = [f"{self.looked_at:,} of {about}{self.people:,} subscribers were looked at."]
        if self.assumed_on:
            lines.append("Counted as if the features were on.")
        if not self.tallies:
            lines.append("No decision of any feature changes.")
        return lines + [_said(tally) for tally in self.tallies]


def _said(tally: Tally) -> str:
    moves = tally.moves
    if not tally.moves_anybody:
        return f"{tally.feature}: nobody of them gains, loses or changes anything ({tally.has:,} have it)."
    parts = [
        f"{moves[move]:,} {verb}"
        for move, verb in ((Move.GAINS, "gain it"), (Move.LOSES, "lose it"), (Move.CHANGES, "get another variant"))
        if moves[move]
    ]
    return f"{tally.feature}: {', '.join(parts)}; {tally.has:,} have it afterwards, {tally.had:,} before."


def of_feature(
    key: str, changes: Mapping[str, Any], *, now: datetime, sample: int = USUAL_SAMPLE, assume_on: bool = False
) -> Preview:
    """What changing these members of the feature would do. Raises as `change_feature` does."""
    feature = proposed_feature(key, changes)
    before = build(now)
    windows_open = before["features"][key]["windows_open"]
    features = {**before["features"], key: feature_document(feature, windows_open=windows_open)}
    return _between(before, {**before, "features": features}, now=now, sample=sample, assume_on=assume_on)


def of_audience(
    key: str, any_of: Any, *, now: datetime, sample: int = USUAL_SAMPLE, assume_on: bool = False
) -> Preview:
    """What these clauses of the audience would do to every feature that uses it. Raises as `change_audience` does."""
    audience = Audience.objects.filter(key=key).first()
    if audience is None:
        raise AudienceUnknown(key)
    audience.any_of = any_of
    validate_audience(audience)
    before = build(now)
    after = {**before, "audiences": {**before["audiences"], key: any_of}}
    return _between(before, after, now=now, sample=sample, assume_on=assume_on)


def of_document(
    document: Any,
    *,
    now: datetime,
    sample: int = USUAL_SAMPLE,
    assume_on: bool = False,
    progress: Progress | None = None,
) -> Preview:
    """What importing this would do. Raises `DocumentInvalid`."""
    todo = plan(document, now=now)
    before = build(now)
    after = proposed(before, todo.after)
    return _between(before, after, now=now, sample=sample, assume_on=assume_on, progress=progress)


def _between(
    before: dict[str, Any],
    after: dict[str, Any],
    *,
    now: datetime,
    sample: int,
    assume_on: bool,
    progress: Progress | None = None,
) -> Preview:
    try:
        old, new = read_ruleset(numbered(before)), read_ruleset(numbered(after))
        keys = affected(old, new)
        if assume_on:
            old, new = (read_ruleset(numbered(_on(document, keys))) for document in (before, after))
    except Invalid as error:
        raise DocumentInvalid(error.path, error.why) from error
    crowd = choose(sample)
    compiled = [each.features[key] for each in (old, new) for key in keys if key in each.features]
    traits = {*TRAITS, *traits_needed(compiled)}
    people = tables(crowd, traits=traits, grants=holdings_needed(compiled), areas=new.areas) if keys else iter(())
    if progress is not None:
        people = _followed(people, crowd.looked_at, progress)
    return Preview(crowd.looked_at, crowd.of, crowd.exact, assume_on, tuple(compare(old, new, keys, people, now)))


def _followed(people: Iterator[Table], of: int, progress: Progress) -> Iterator[Table]:
    """The same tables; each is told once it was counted."""
    looked_at = 0
    for table in people:
        yield table
        looked_at += table.size
        progress(looked_at, of)


def _on(document: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    features = document["features"]
    on = {key: {**features[key], "switch": Switch.ON.value} for key in keys if key in features}
    return {**document, "features": {**features, **on}}
