"""Audiences: ANY of several lists of conditions, each list joined by AND; reusable by name, and nested.

A condition is a clause, `{"audience": key}` or a group `{"any_of": [[…]]}`, each of which may be `inverted`.
What can't be told (a missing trait) stays so through AND, OR and inversion, as in Kleene's logic, and never matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollout.rules.definition import reading
from rollout.rules.definition.clause import Clause, Operator, Test, Traits, as_text, compile_clause, flaw
from rollout.rules.definition.reading import Invalid, under

MOST_LISTS = 50
MOST_CONDITIONS = 50
MOST_VALUES = 5_000
LONGEST_VALUE = 256
DEEPEST = 8
OPERATORS = {str(operator): operator for operator in Operator}
MOST_EXPANDED = 5_000


@dataclass(frozen=True, slots=True)
class Named:
    """A reusable audience, by key."""

    audience: str
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    any_of: AnyOf
    inverted: bool = False


Condition = Clause | Named | Group
AnyOf = tuple[tuple[Condition, ...], ...]


def parse_any_of(raw: Any, path: str, *, strict: bool = True, depth: int = 0) -> AnyOf:
    """An audience from JSON; an empty list is everybody. Raises `Invalid` with the path of the first fault.

    Not strict, a clause that could never match (unknown operator, unusable value) is kept and never matches, so that
    what a later version or an import published still loads.
    """
    if depth > DEEPEST:
        raise Invalid(path, f"is nested deeper than {DEEPEST} levels.")
    lists = reading.items(raw, path, most=MOST_LISTS)
    any_of = []
    for i, raw_list in enumerate(lists):
        here = under(path, i)
        conditions = reading.items(raw_list, here, most=MOST_CONDITIONS, least=1)
        any_of.append(
            tuple(_condition(each, under(here, j), strict=strict, depth=depth) for j, each in enumerate(conditions))
        )
    return tuple(any_of)


def _condition(raw: Any, path: str, *, strict: bool, depth: int) -> Condition:
    if isinstance(raw, dict) and "audience" in raw:
        raw = reading.mapping(raw, path, known=frozenset({"audience", "inverted"}))
        key = reading.key_text(raw["audience"], under(path, "audience"))
        return Named(key, reading.flag(raw.get("inverted", False), under(path, "inverted")))
    if isinstance(raw, dict) and "any_of" in raw:
        raw = reading.mapping(raw, path, known=frozenset({"any_of", "inverted"}))
        inner = parse_any_of(raw["any_of"], under(path, "any_of"), strict=strict, depth=depth + 1)
        return Group(inner, reading.flag(raw.get("inverted", False), under(path, "inverted")))
    return _clause(raw, path, strict=strict)


_CLAUSE = frozenset({"trait", "operator", "values", "value", "inverted", "case_insensitive"})


def _clause(raw: Any, path: str, *, strict: bool) -> Clause:
    raw = reading.mapping(raw, path, known=_CLAUSE, needed=frozenset({"trait", "operator"}))
    name = reading.text(raw["operator"], under(path, "operator"), most=32, least=1)
    if "value" in raw and "values" in raw:
        raise Invalid(under(path, "value"), "stands beside values; give one of them.")
    given = [raw["value"]] if "value" in raw else raw.get("values", [])
    where = under(path, "values")
    values = _values(reading.items(given, where, most=MOST_VALUES), where)
    clause = Clause(
        trait=reading.text(raw["trait"], under(path, "trait"), most=64, least=1),
        operator=OPERATORS.get(name),
        name=name,
        values=values,
        inverted=reading.flag(raw.get("inverted", False), under(path, "inverted")),
        case_insensitive=reading.flag(raw.get("case_insensitive", False), under(path, "case_insensitive")),
    )
    wrong = flaw(clause) if strict else None
    if wrong:
        raise Invalid(under(path, "operator" if clause.operator is None else "values"), wrong)
    return clause


def _values(given: Sequence[Any], path: str) -> tuple[str, ...]:
    if set(map(type, given)) == {str} and max(map(len, given)) <= LONGEST_VALUE:  # nearly always
        return tuple(given)
    values = []
    for i, value in enumerate(given):
        written = as_text(value)
        if isinstance(value, int | float) and abs(value) >= (2**53 if isinstance(value, float) else 2**63):
            raise Invalid(under(path, i), "is too large to be stored as a number. Write it as text.")
        if written is None or len(written) > LONGEST_VALUE:
            raise Invalid(under(path, i), f"expected text (at most {LONGEST_VALUE} characters), a number or a flag.")
        values.append(written)
    return tuple(values)


def names_in(any_of: AnyOf) -> frozenset[str]:
    """The keys of the audiences that this one is made of, directly."""
    found: set[str] = set()
    for conditions in any_of:
        for condition in conditions:
            if isinstance(condition, Named):
                found.add(condition.audience)
            elif isinstance(condition, Group):
                found |= names_in(condition.any_of)
    return frozenset(found)


def traits_in(any_of: AnyOf, audiences: Mapping[str, AnyOf]) -> frozenset[str]:
    """The traits that it looks at, also through audiences."""
    found: set[str] = set()
    for condition in (each for conditions in any_of for each in conditions):
        if isinstance(condition, Clause):
            found.add(condition.trait)
        else:
            inner = condition.any_of if isinstance(condition, Group) else audiences[condition.audience]
            found |= traits_in(inner, audiences)
    return frozenset(found)


def size(any_of: AnyOf, sizes: Mapping[str, int]) -> int:
    """How many clauses it has once every named audience is written out: the work of one evaluation."""
    total = 0
    for conditions in any_of:
        for condition in conditions:
            if isinstance(condition, Clause):
                total += 1
            elif isinstance(condition, Named):
                total += 1 + sizes.get(condition.audience, 0)
            else:
                total += 1 + size(condition.any_of, sizes)
    return total


def compile_audiences(audiences: Mapping[str, AnyOf]) -> dict[str, Test]:
    """Every audience as a test. Raises `Invalid` when one names an unknown audience, or itself through others."""
    built = _Built({}, {}, [])
    for key in audiences:
        if key not in built.tests:
            _build(key, audiences, built)
    return built.tests


@dataclass(frozen=True, slots=True)
class _Built:
    """What is done so far, and the way to the one at work: each is named by the one before."""

    tests: dict[str, Test]
    sizes: dict[str, int]
    pending: list[str]


def _build(key: str, audiences: Mapping[str, AnyOf], built: _Built) -> None:
    path, pending = f"audiences.{key}", built.pending
    if key in pending:
        raise Invalid(path, f"goes round in a circle: {' → '.join([*pending[pending.index(key) :], key])}.")
    if len(pending) >= DEEPEST:
        raise Invalid(path, f"is built of audiences more than {DEEPEST} deep.")
    pending.append(key)
    for name in sorted(names_in(audiences[key])):
        if name not in audiences:
            raise Invalid(path, f"names the audience {name!r}, which is not there.")
        if name not in built.tests:
            _build(name, audiences, built)
    built.sizes[key] = size(audiences[key], built.sizes)
    if built.sizes[key] > MOST_EXPANDED:
        raise Invalid(path, f"has {built.sizes[key]} clauses once written out; at most {MOST_EXPANDED} are allowed.")
    built.tests[key] = compile_any_of(audiences[key], built.tests)
    pending.pop()


def compile_any_of(any_of: AnyOf, audiences: Mapping[str, Test], path: str = "any_of") -> Test:
    """The audience as one test. `audiences` holds what it names; an unknown name raises `Invalid`."""
    if not any_of:
        return _everybody
    return _any([_all([_compile(each, audiences, path) for each in conditions]) for conditions in any_of])


def _everybody(traits: Traits, now: datetime) -> bool:
    return True


def _compile(condition: Condition, audiences: Mapping[str, Test], path: str) -> Test:
    if isinstance(condition, Clause):
        return compile_clause(condition)
    if isinstance(condition, Named):
        if condition.audience not in audiences:
            raise Invalid(path, f"names the audience {condition.audience!r}, which is not there.")
        inner = audiences[condition.audience]
    else:
        inner = compile_any_of(condition.any_of, audiences, path)
    return _not(inner) if condition.inverted else inner


def _not(inner: Test) -> Test:
    def test(traits: Traits, now: datetime) -> bool | None:
        answer = inner(traits, now)
        return None if answer is None else not answer

    return test


def _all(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(traits: Traits, now: datetime) -> bool | None:
        answer: bool | None = True
        for each in tests:
            one = each(traits, now)
            if one is False:
                return False
            if one is None:
                answer = None
        return answer

    return test


def _any(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(traits: Traits, now: datetime) -> bool | None:
        answer: bool | None = False
        for each in tests:
            one = each(traits, now)
            if one:
                return True
            if one is None:
                answer = None
        return answer

    return test


def explain_any_of(
    any_of: AnyOf, traits: Traits, now: datetime, audiences: Mapping[str, AnyOf], tests: Mapping[str, Test]
) -> list[list[dict[str, Any]]]:
    """Every condition with what it compared and what came out; it decides nothing."""
    lists = []
    for conditions in any_of:
        rows = []
        for condition in conditions:
            row: dict[str, Any] = {"matched": _compile(condition, tests, "")(traits, now)}
            if isinstance(condition, Clause):
                row |= {"trait": condition.trait, "operator": condition.name, "values": list(condition.values[:10])}
                row |= {"of": len(condition.values), "seen": as_text(traits.get(condition.trait))}
            elif isinstance(condition, Named):
                inner = audiences[condition.audience]
                row |= {"audience": condition.audience, "any_of": explain_any_of(inner, traits, now, audiences, tests)}
            else:
                row |= {"any_of": explain_any_of(condition.any_of, traits, now, audiences, tests)}
            row["inverted"] = condition.inverted
            rows.append(row)
        lists.append(rows)
    return lists
