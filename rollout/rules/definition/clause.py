"""Clauses: one comparison of one trait, compiled to a closure.

Operators have Unleash's meaning, so that its test vectors apply. A test answers True, False or None; None is "can't be
told": the trait is missing or malformed, or the operator is unknown. None never matches, inverted or not (fail closed).
The one exception is Unleash's own: `NOT_IN` is true of a missing trait (docs/decisions/0005).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, assert_never

import re2

from rollout.rules.definition import rfc3339, semver

Traits = Mapping[str, Any]
Test = Callable[[Traits, datetime], bool | None]

LONGEST_PATTERN = 256
NOW_TRAIT = "currentTime"  # Unleash's name: the time of the decision, unless a backend says otherwise
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\Z", re.ASCII)


class Operator(StrEnum):
    IN = "IN"
    NOT_IN = "NOT_IN"
    STR_CONTAINS = "STR_CONTAINS"
    STR_STARTS_WITH = "STR_STARTS_WITH"
    STR_ENDS_WITH = "STR_ENDS_WITH"
    NUM_EQ = "NUM_EQ"
    NUM_GT = "NUM_GT"
    NUM_GTE = "NUM_GTE"
    NUM_LT = "NUM_LT"
    NUM_LTE = "NUM_LTE"
    DATE_AFTER = "DATE_AFTER"
    DATE_BEFORE = "DATE_BEFORE"
    SEMVER_EQ = "SEMVER_EQ"
    SEMVER_GT = "SEMVER_GT"
    SEMVER_GTE = "SEMVER_GTE"
    SEMVER_LT = "SEMVER_LT"
    SEMVER_LTE = "SEMVER_LTE"
    REGEX = "REGEX"
    IN_CIDR = "IN_CIDR"


SINGLE = frozenset(o for o in Operator if o.startswith(("NUM_", "DATE_", "SEMVER_", "REGEX")))


@dataclass(frozen=True, slots=True)
class Clause:
    """`operator` is None when this version doesn't know `name`: such a clause never matches."""

    trait: str
    operator: Operator | None
    name: str
    values: tuple[str, ...]
    inverted: bool = False
    case_insensitive: bool = False


def as_text(value: Any) -> str | None:
    """A trait as text, as Unleash's contexts carry it; None when it is missing, null, a list or an object."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else str(value)
    return None


def as_number(value: Any) -> int | float | None:
    """A finite number, also from decimal text; None otherwise. True and false are no numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if len(value) > 64 or not _NUMBER.match(value):
            return None
        value = int(value) if value.lstrip("+-").isdigit() else float(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return None


@lru_cache(maxsize=4096)
def as_address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


def as_network(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A network; one of mapped IPv4 addresses is the IPv4 network that it stands for."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def pattern(raw: str, case_insensitive: bool) -> Any | None:
    """An RE2 pattern (linear time), or None when it is none or needs more than 1 MB."""
    if len(raw) > LONGEST_PATTERN:
        return None
    options = re2.Options()
    options.max_mem = 1 << 20
    options.case_sensitive = not case_insensitive
    options.log_errors = False
    try:
        return re2.compile(raw, options)
    except re2.error:
        return None


def flaw(clause: Clause) -> str | None:
    """What is wrong with a clause's operator or values, in words; None when it can be published."""
    operator, values = clause.operator, clause.values
    if operator is None:
        return f"{clause.name[:40]!r} is no operator; known are {', '.join(Operator)}."
    if not values:
        return f"{operator} compares with at least one value, and there is none."
    if operator in SINGLE and len(values) != 1:
        return f"{operator} compares with exactly one value, not {len(values)}."
    for value in values:
        if operator.startswith("NUM_") and as_number(value) is None:
            return f"{value[:40]!r} is not a number."
        if operator.startswith("DATE_") and rfc3339.moment(value) is None:
            return f"{value[:40]!r} is not a date as RFC 3339 writes it, such as 2015-03-31T00:00:00Z."
        if operator.startswith("SEMVER_") and semver.strict(value) is None:
            return f"{value[:40]!r} is not a version as SemVer 2.0 writes it, such as 2.12.0."
        if operator is Operator.REGEX and pattern(value, clause.case_insensitive) is None:
            return f"{value[:40]!r} is not a pattern of at most {LONGEST_PATTERN} characters in RE2's syntax."
        if operator is Operator.IN_CIDR and as_network(value) is None:
            return f"{value[:40]!r} is not an address or network, such as 10.0.0.0/8."
    return None


def compile_clause(clause: Clause) -> Test:
    """The clause as a closure over its constants. Values that can't be used make it answer None for ever."""
    operator = clause.operator
    if operator is None:
        return _never
    match operator:
        case Operator.IN:
            return _member(clause, wanted=not clause.inverted, missing=None)
        case Operator.NOT_IN:
            return _member(clause, wanted=clause.inverted, missing=None if clause.inverted else True)
        case Operator.STR_CONTAINS | Operator.STR_STARTS_WITH | Operator.STR_ENDS_WITH:
            return _string(clause, operator)
        case Operator.NUM_EQ | Operator.NUM_GT | Operator.NUM_GTE | Operator.NUM_LT | Operator.NUM_LTE:
            return _ordered(clause, operator.removeprefix("NUM_"), as_number)
        case Operator.SEMVER_EQ | Operator.SEMVER_GT | Operator.SEMVER_GTE | Operator.SEMVER_LT | Operator.SEMVER_LTE:
            return _ordered(clause, operator.removeprefix("SEMVER_"), _as_version)
        case Operator.DATE_AFTER:
            return _dated(clause, "GT")
        case Operator.DATE_BEFORE:
            return _dated(clause, "LT")
        case Operator.REGEX:
            return _regex(clause)
        case Operator.IN_CIDR:
            return _cidr(clause)
        case _:
            assert_never(operator)


def _never(traits: Traits, now: datetime) -> None:
    return None


def _as_version(value: Any) -> semver.Version | None:
    return semver.strict(value) if isinstance(value, str) else None


def _member(clause: Clause, *, wanted: bool, missing: bool | None) -> Test:
    trait, fold = clause.trait, clause.case_insensitive
    values = frozenset(value.casefold() for value in clause.values) if fold else frozenset(clause.values)

    def plain(traits: Traits, now: datetime) -> bool | None:
        value = traits.get(trait)
        if value.__class__ is not str:
            value = as_text(value)
            if value is None:
                return missing
        return value in values

    if wanted and not fold:  # by far the most frequent clause
        return plain

    def test(traits: Traits, now: datetime) -> bool | None:
        value = traits.get(trait)
        if value.__class__ is not str:
            value = as_text(value)
            if value is None:
                return missing
        return ((value.casefold() if fold else value) in values) is wanted

    return test


def _string(clause: Clause, operator: Operator) -> Test:
    trait, fold, wanted = clause.trait, clause.case_insensitive, not clause.inverted
    values = tuple(value.casefold() if fold else value for value in clause.values)

    def test(traits: Traits, now: datetime) -> bool | None:
        value = as_text(traits.get(trait))
        if value is None:
            return None
        if fold:
            value = value.casefold()
        if operator is Operator.STR_STARTS_WITH:
            found = value.startswith(values)
        elif operator is Operator.STR_ENDS_WITH:
            found = value.endswith(values)
        else:
            found = any(part in value for part in values)
        return found is wanted

    return test


def _compare(comparison: str) -> Callable[[Any, Any], bool]:
    return {
        "EQ": lambda a, b: a == b,
        "GT": lambda a, b: a > b,
        "GTE": lambda a, b: a >= b,
        "LT": lambda a, b: a < b,
        "LTE": lambda a, b: a <= b,
    }[comparison]


def _ordered(clause: Clause, comparison: str, read: Callable[[Any], Any]) -> Test:
    trait, wanted, holds = clause.trait, not clause.inverted, _compare(comparison)
    bound = read(clause.values[0]) if len(clause.values) == 1 else None
    if bound is None:
        return _never

    def test(traits: Traits, now: datetime) -> bool | None:
        value = read(traits.get(trait))
        if value is None:
            return None
        return holds(value, bound) is wanted

    return test


def _dated(clause: Clause, comparison: str) -> Test:
    trait, wanted, holds = clause.trait, not clause.inverted, _compare(comparison)
    bound = rfc3339.moment(clause.values[0]) if len(clause.values) == 1 else None
    if bound is None:
        return _never

    def test(traits: Traits, now: datetime) -> bool | None:
        raw = traits.get(trait)
        if isinstance(raw, str):
            moment = rfc3339.moment(raw)
        elif raw is None and trait == NOW_TRAIT:
            moment = now
        else:
            moment = None
        if moment is None:
            return None
        return holds(moment, bound) is wanted

    return test


def _regex(clause: Clause) -> Test:
    trait, wanted = clause.trait, not clause.inverted
    compiled = pattern(clause.values[0], clause.case_insensitive) if len(clause.values) == 1 else None
    if compiled is None:
        return _never
    search = compiled.search

    def test(traits: Traits, now: datetime) -> bool | None:
        value = as_text(traits.get(trait))
        if value is None:
            return None
        return (search(value) is not None) is wanted

    return test


def _cidr(clause: Clause) -> Test:
    trait, wanted = clause.trait, not clause.inverted
    networks = [network for network in map(as_network, clause.values) if network is not None]
    if not networks:
        return _never

    def test(traits: Traits, now: datetime) -> bool | None:
        raw = traits.get(trait)
        address = as_address(raw) if isinstance(raw, str) else None
        if address is None:
            return None
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        found = any(address in network or (mapped is not None and mapped in network) for network in networks)
        return found is wanted

    return test
