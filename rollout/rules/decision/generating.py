"""Generated code for a feature's rules: one function that decides, in one frame and without a loop.

Nothing of a ruleset is ever written into source text: the source is made of numbered names only, and every constant (a
trait's name, a set of values, a decision) is bound as a cell of the closure. Features of one shape share one code
object, so that compiling is paid once per shape. What isn't worth a template stays a closure and is bound as a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mmh3

from rollout.rules.decision.decision import Attempt, Decision
from rollout.rules.definition import semver
from rollout.rules.definition.audience import AnyOf, Condition
from rollout.rules.definition.bucket import MILLION, least_hash_beyond, variant_bucket, weighted
from rollout.rules.definition.clause import Clause, Operator, Test, as_text

MOST_INLINE = 8  # conditions of one rule; a longer rule is one bound test
_INDENT = ["    " * (2 + depth) for depth in range(MOST_INLINE + 4)]
BEYOND = 1 << 32  # the hash of somebody without an id: in no share
_VERSIONS = {
    Operator.SEMVER_EQ: ("==", "!="),
    Operator.SEMVER_GT: (">", "<="),
    Operator.SEMVER_GTE: (">=", "<"),
    Operator.SEMVER_LT: ("<", ">="),
    Operator.SEMVER_LTE: ("<=", ">"),
}
_FIXED = {
    "as_text": as_text,
    "version": semver.strict,
    "murmur": mmh3.hash,
    "beyond": BEYOND,
    "split": variant_bucket,
    "pick": weighted,
}

Factory = Callable[[Sequence[Any], Decision | None], Attempt]


@dataclass(frozen=True, slots=True)
class Row:
    """One rule, compiled: its audience as it was written and as a test, and what it gives."""

    any_of: AnyOf
    test: Test
    share_ppm: int
    outcomes: Sequence[Decision]
    weights_ppm: Sequence[int]


@dataclass(frozen=True, slots=True)
class Written:
    """A function's source and the constants that belong to it."""

    source: str
    bound: tuple[Any, ...]

    def with_last(self, last: Decision | None) -> Attempt:
        """The function, which answers `last` when no rule gives anything."""
        return _factory(self.source)(self.bound, last)


def write(salt: str, rows: Sequence[Row]) -> Written:
    """The rules in order as one function; the first that matches and whose share covers the person decides."""
    return _Writer(salt).rules(rows)


@lru_cache(maxsize=1024)
def _factory(source: str) -> Factory:
    namespace: dict[str, Any] = dict(_FIXED)
    exec(compile(source, "<rules>", "exec"), namespace)  # noqa: S102  # made of the templates below and of counters
    factory: Factory = namespace["make"]
    return factory


class _Writer:
    def __init__(self, salt: str) -> None:
        self._lines: list[str] = []
        self._bound: list[Any] = []
        self._salt = salt
        self._salted = ""
        self._read: dict[str, str] = {}  # traits that every way to the present line has read, as text

    def rules(self, rows: Sequence[Row]) -> Written:
        for row in rows:
            if row.share_ppm:
                self._rule(row)
        cells = "".join(f"b{i}, " for i in range(len(self._bound)))
        head = ["def make(bound, last):"]
        head += [f"    ({cells}) = bound"] if cells else []
        head += ["    def decide(party, now):", "        traits = party.traits"]
        head += ["        h = -1"] if self._salted else []
        lines = [*head, *self._lines, "        return last", "    return decide", ""]
        return Written("\n".join(lines), tuple(self._bound))

    def _bind(self, value: Any) -> str:
        self._bound.append(value)
        return f"b{len(self._bound) - 1}"

    def _rule(self, row: Row) -> None:
        """`if` under `if`, one for each condition, then the share, then the outcome."""
        depth = 0
        before = dict(self._read)
        for n, condition in enumerate(self._conditions(row)):
            held = self._test(condition, depth) if condition is not None else f"{self._bind(row.test)}(traits, now)"
            if n == 0:
                before = dict(self._read)  # the first condition is looked at whatever comes out of it
            self._line(depth, f"if {held}:")
            depth += 1
        if row.share_ppm != MILLION:
            hashed = f"murmur({self._salt_name()} + party.subscriber, 0, False)"
            self._line(depth, f"if h < 0: h = {hashed} if party.subscriber else beyond")
            self._line(depth, f"if h < {self._bind(least_hash_beyond(row.share_ppm))}:")
            depth += 1
        self._outcome(row, depth)
        self._read = before

    def _conditions(self, row: Row) -> Sequence[Condition | None]:
        """The conditions to write out; None stands for the whole audience as one bound test."""
        if not row.any_of:
            return ()
        if len(row.any_of) > 1 or len(row.any_of[0]) > MOST_INLINE:
            return (None,)
        inline = [_inline(each) for each in row.any_of[0]]
        return row.any_of[0] if all(inline) else (None,)

    def _test(self, condition: Condition, depth: int) -> str:
        assert isinstance(condition, Clause)
        operator = condition.operator
        if operator in _VERSIONS:
            sign = _VERSIONS[operator][condition.inverted]
            bound = self._bind(semver.strict(condition.values[0]))
            self._line(depth, f"v = traits.get({self._bind(condition.trait)})")
            self._line(depth, "v = version(v) if v.__class__ is str else None")
            return f"v is not None and v {sign} {bound}"
        name = self._text(condition.trait, depth)
        values = self._bind(frozenset(condition.values))
        if operator is Operator.IN:
            return f"{name} is not None and {name} not in {values}" if condition.inverted else f"{name} in {values}"
        return f"{name} in {values}" if condition.inverted else f"{name} not in {values}"

    def _text(self, trait: str, depth: int) -> str:
        """The name of the variable that holds the trait as text, or None."""
        name = self._read.get(trait)
        if name is None:
            bound = self._bind(trait)
            name = self._read[trait] = f"t{bound[1:]}"
            self._line(depth, f"{name} = traits.get({bound})")
            self._line(depth, f"if {name}.__class__ is not str: {name} = as_text({name})")
        return name

    def _salt_name(self) -> str:
        self._salted = self._salted or self._bind(self._salt)
        return self._salted

    def _outcome(self, row: Row, depth: int) -> None:
        if len(row.outcomes) == 1:
            self._line(depth, f"return {self._bind(row.outcomes[0])}")
            return
        outcomes, weights = self._bind(tuple(row.outcomes)), self._bind(tuple(row.weights_ppm))
        self._line(depth, "if party.subscriber:")
        self._line(depth + 1, f"return {outcomes}[pick(split({self._salt_name()}, party.subscriber), {weights})]")

    def _line(self, depth: int, text: str) -> None:
        self._lines.append(_INDENT[depth] + text)


def _inline(condition: Condition) -> bool:
    """Whether there is a template for it."""
    if not isinstance(condition, Clause) or condition.case_insensitive:
        return False
    if condition.operator in _VERSIONS:
        return len(condition.values) == 1 and semver.strict(condition.values[0]) is not None
    return condition.operator in (Operator.IN, Operator.NOT_IN)
