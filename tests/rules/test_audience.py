"""Clauses and audiences: a table for every operator, what fails closed, nesting, and bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.definition.audience import compile_any_of, compile_audiences, explain_any_of, parse_any_of
from rollout.rules.definition.clause import Operator
from rollout.rules.definition.reading import Invalid

NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)


def answer(clause: dict[str, Any], traits: dict[str, Any], *, strict: bool = True) -> bool | None:
    return compile_any_of(parse_any_of([[clause]], "any_of", strict=strict), {})(traits, NOW)


def clause(operator: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"trait": "t", "operator": operator, "values": list(values), **more}


TABLE = [
    (clause("IN", "DE", "FR"), "DE", True),
    (clause("IN", "DE", "FR"), "US", False),
    (clause("IN", "DE"), "de", False),
    (clause("IN", "DE", case_insensitive=True), "de", True),
    (clause("IN", 5), 5, True),
    (clause("IN", "5"), 5.0, True),
    (clause("IN", True), True, True),
    (clause("IN", "1"), True, False),
    (clause("IN"), "DE", False),
    (clause("NOT_IN", "DE"), "DE", False),
    (clause("NOT_IN", "DE"), "FR", True),
    (clause("NOT_IN", "DE", inverted=True), "DE", True),
    (clause("STR_CONTAINS", "ab", "cd"), "xcdx", True),
    (clause("STR_CONTAINS", "AB"), "xabx", False),
    (clause("STR_CONTAINS", "AB", case_insensitive=True), "xabx", True),
    (clause("STR_CONTAINS"), "x", False),
    (clause("STR_STARTS_WITH", "26"), "262-03", True),
    (clause("STR_STARTS_WITH", "62"), "262-03", False),
    (clause("STR_ENDS_WITH", "-03"), "262-03", True),
    (clause("STR_ENDS_WITH", "-03", inverted=True), "262-03", False),
    (clause("NUM_EQ", 5), "5.0", True),
    (clause("NUM_GT", 5), 5, False),
    (clause("NUM_GTE", "5"), 5, True),
    (clause("NUM_LT", "1e3"), 999.5, True),
    (clause("NUM_LTE", -1), "-1", True),
    (clause("NUM_GT", 9007199254740992), 9007199254740993, True),
    (clause("DATE_AFTER", "2015-03-31T00:00:00Z"), "2015-03-31T02:00:00+02:00", False),
    (clause("DATE_AFTER", "2015-03-31T00:00:00Z"), "2015-03-31T00:00:01z", True),
    (clause("DATE_BEFORE", "2015-03-31t00:00:00-00:00"), "2015-03-30T23:59:59.999999999Z", True),
    (clause("SEMVER_EQ", "2.12.0+build.7"), "2.12.0", True),
    (clause("SEMVER_GT", "2.12.0-beta.2"), "2.12.0-beta.11", True),
    (clause("SEMVER_GT", "2.12.0-beta"), "2.12.0", True),
    (clause("SEMVER_GTE", "2.9.0"), "2.12.0", True),
    (clause("SEMVER_LT", "2.12.0"), "2.12.0-rc.1", True),
    (clause("SEMVER_LTE", "1.0.0-alpha.1"), "1.0.0-alpha", True),
    (clause("SEMVER_GT", "1.0.9999999999999999999"), "1.0.10000000000000000000", True),
    (clause("SEMVER_GT", "1.0.0-9999999999999999999"), "1.0.0-10000000000000000000", True),
    (clause("SEMVER_LT", "1.0.0-a"), "1.0.0-10000000000000000000", True),
    (clause("SEMVER_EQ", f"{'9' * 240}.0.0"), f"{'9' * 240}.0.0+build", True),
    (clause("REGEX", "^ab+$"), "abbb", True),
    (clause("REGEX", "b"), "abc", True),
    (clause("REGEX", "^AB$", case_insensitive=True), "ab", True),
    (clause("IN_CIDR", "10.0.0.0/8", "2001:db8::/32"), "10.1.2.3", True),
    (clause("IN_CIDR", "10.0.0.0/8", "2001:db8::/32"), "2001:db8::1", True),
    (clause("IN_CIDR", "192.0.2.7"), "192.0.2.8", False),
    (clause("IN_CIDR", "10.0.0.0/8"), "::ffff:10.0.0.1", True),
    (clause("IN_CIDR", "10.0.0.0/8"), "::ffff:11.0.0.1", False),
    (clause("IN_CIDR", "::ffff:10.0.0.0/104"), "10.0.0.1", True),
    (clause("IN_CIDR", "::ffff:0:0/95"), "::ffff:10.0.0.1", True),
]


@pytest.mark.parametrize(("given_clause", "trait", "expected"), TABLE)
def test_clause__table__answers_as_unleash_does(given_clause: dict[str, Any], trait: Any, expected: bool) -> None:
    assert answer(given_clause, {"t": trait}, strict=bool(given_clause["values"])) is expected


def test_clause__every_operator__is_in_the_table() -> None:
    assert {row[0]["operator"] for row in TABLE} == set(Operator)


SAMPLE = {"NUM": 5, "DATE": "2015-01-01T00:00:00Z", "SEMVER": "1.0.0", "REGEX": ".*", "IN_CIDR": "0.0.0.0/0"}


def sample(operator: Operator) -> Any:
    return SAMPLE.get(operator, SAMPLE.get(operator.split("_")[0], "x"))


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("traits", [{}, {"t": None}, {"t": []}, {"t": {"x": 1}}, {"t": float("nan")}])
def test_clause__trait_missing_or_malformed__never_matches(
    operator: Operator, inverted: bool, traits: dict[str, Any]
) -> None:
    told = answer(clause(operator, sample(operator), inverted=inverted), traits)

    if operator is Operator.NOT_IN and not inverted:
        assert told is True  # Unleash's own meaning: what is missing is not in the list
    else:
        assert told is None


@pytest.mark.parametrize(
    ("operator", "value", "trait"),
    [
        ("NUM_GT", 5, "six"),
        ("NUM_GT", 5, True),
        ("NUM_GT", 5, "1_0"),
        ("NUM_GT", 5, "1e309"),
        ("DATE_AFTER", "2015-01-01T00:00:00Z", "yesterday"),
        ("DATE_AFTER", "2015-01-01T00:00:00Z", 1427803200),
        ("DATE_AFTER", "2015-01-01T00:00:00Z", "2015-03-31T00:00:00"),
        ("SEMVER_GT", "1.0.0", "2.0"),
        ("SEMVER_GT", "1.0.0", "01.0.0"),
        ("SEMVER_GT", "1.0.0", 2),
        ("IN_CIDR", "0.0.0.0/0", "10.0.0.1/8"),
        ("IN_CIDR", "0.0.0.0/0", "example"),
    ],
)
def test_clause__trait_of_the_wrong_kind__never_matches_inverted_or_not(operator: str, value: Any, trait: Any) -> None:
    assert answer(clause(operator, value), {"t": trait}) is None
    assert answer(clause(operator, value, inverted=True), {"t": trait}) is None


def test_clause__unknown_operator__never_matches_and_is_refused_when_published() -> None:
    strange = clause("SOUNDS_LIKE", "x")

    assert answer(strange, {"t": "x"}, strict=False) is None
    assert answer(strange | {"inverted": True}, {"t": "x"}, strict=False) is None
    with pytest.raises(Invalid) as refused:
        answer(strange, {"t": "x"})
    assert refused.value.path == "any_of[0][0].operator"


def test_date_clause__current_time__is_the_time_of_the_decision() -> None:
    after = {"trait": "currentTime", "operator": "DATE_AFTER", "values": ["2015-03-31T11:00:00Z"]}

    assert answer(after, {}) is True
    assert answer(after, {"currentTime": "2015-03-31T10:00:00Z"}) is False


def test_audience__lists__are_any_of_all() -> None:
    any_of = parse_any_of(
        [
            [
                {"trait": "country", "operator": "IN", "values": ["DE"]},
                {"trait": "n", "operator": "NUM_GT", "value": 1},
            ],
            [{"trait": "vip", "operator": "IN", "values": [True]}],
        ],
        "any_of",
    )
    test = compile_any_of(any_of, {})

    assert test({"country": "DE", "n": 2}, NOW) is True
    assert test({"country": "DE", "n": 1, "vip": False}, NOW) is False
    assert test({"country": "US", "vip": True}, NOW) is True
    assert compile_any_of((), {})({}, NOW) is True


GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]


def test_audience__named_and_nested_and_inverted__stays_closed_for_missing_traits() -> None:
    audiences = {
        "germans": parse_any_of(GERMANS, "a"),
        "foreigners": parse_any_of([[{"audience": "germans", "inverted": True}]], "b"),
        "mixed": parse_any_of([[{"any_of": [[{"audience": "foreigners"}], [{"audience": "germans"}]]}]], "c"),
    }
    tests = compile_audiences(audiences)

    assert [tests["foreigners"]({"country": c}, NOW) for c in ("DE", "US")] == [False, True]
    assert tests["foreigners"]({}, NOW) is None
    assert tests["mixed"]({"country": "US"}, NOW) is True
    assert tests["mixed"]({}, NOW) is None


@pytest.mark.parametrize(
    ("audiences", "part"),
    [
        ({"a": [[{"audience": "a"}]]}, "circle"),
        ({"a": [[{"audience": "b"}]], "b": [[{"any_of": [[{"audience": "a"}]]}]]}, "circle"),
        ({"a": [[{"audience": "nobody"}]]}, "not there"),
    ],
)
def test_audiences__circle_or_unknown_name__are_refused(audiences: dict[str, Any], part: str) -> None:
    with pytest.raises(Invalid, match=part):
        compile_audiences({key: parse_any_of(raw, key) for key, raw in audiences.items()})


def test_audiences__that_double_at_each_level__are_refused_before_they_cost_anything() -> None:
    big = [[{"trait": "t", "operator": "IN", "values": [str(i)]} for i in range(50)] for _ in range(50)]
    audiences = {"a0": parse_any_of(big, "a0")}
    for i in range(1, 4):
        audiences[f"a{i}"] = parse_any_of([[{"audience": f"a{i - 1}"}] * 10], f"a{i}")

    with pytest.raises(Invalid, match="clauses once written out"):
        compile_audiences(audiences)


def deep(levels: int) -> Any:
    raw: Any = GERMANS
    for _ in range(levels):
        raw = [[{"any_of": raw}]]
    return raw


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "any_of"),
        ([[]], "any_of[0]"),
        ([["x"]], "any_of[0][0]"),
        ([[{"operator": "IN"}]], "any_of[0][0].trait"),
        ([[clause("IN", "x", invertd=True)]], "any_of[0][0].invertd"),
        ([[clause("IN", "x", inverted="yes")]], "any_of[0][0].inverted"),
        ([[clause("IN", {})]], "any_of[0][0].values[0]"),
        ([[clause("IN")]], "any_of[0][0].values"),
        ([[clause("IN", "x" * 257)]], "any_of[0][0].values[0]"),
        ([[clause("IN", *range(5_001))]], "any_of[0][0].values"),
        ([[clause("NUM_GT", "x")]], "any_of[0][0].values"),
        ([[clause("NUM_GT", 1, 2)]], "any_of[0][0].values"),
        ([[clause("NUM_GT", float("nan"))]], "any_of[0][0].values[0]"),
        ([[clause("DATE_AFTER", "soon")]], "any_of[0][0].values"),
        ([[clause("SEMVER_GT", "2.0")]], "any_of[0][0].values"),
        ([[clause("REGEX", "(")]], "any_of[0][0].values"),
        ([[clause("REGEX", "((a{1,99}){1,99}){1,99}")]], "any_of[0][0].values"),
        ([[clause("IN_CIDR", "10.0.0.0/99")]], "any_of[0][0].values"),
        ([[clause("IN", "x")] * 51], "any_of[0]"),
        (deep(1_00), "any_of" + "[0][0].any_of" * 9),
    ],
)
def test_audience__what_cannot_be_used__is_refused_with_its_path(raw: Any, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_any_of(raw, "any_of")

    assert refused.value.path == path


def test_regex__that_explodes_elsewhere__answers_at_once() -> None:
    told = answer(clause("REGEX", "^(a+)+$"), {"t": "a" * 50_000 + "!"})

    assert told is False


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(list(Operator)), json_values, st.booleans(), st.booleans())
def test_clause__any_trait__is_answered_without_an_error(
    operator: Operator, trait: Any, inverted: bool, fold: bool
) -> None:
    told = answer(clause(operator, sample(operator), inverted=inverted, case_insensitive=fold), {"t": trait})

    assert told in (True, False, None)


def test_explain__shows_each_clause__with_what_it_saw() -> None:
    audiences = {"germans": parse_any_of(GERMANS, "a")}
    any_of = parse_any_of([[{"audience": "germans"}, clause("NUM_GT", 3)]], "b")

    rows = explain_any_of(any_of, {"country": "DE", "t": 2}, NOW, audiences, compile_audiences(audiences))

    assert rows[0][0]["matched"] is True
    assert rows[0][0]["any_of"][0][0]["seen"] == "DE"
    assert rows[0][1] == {
        "matched": False,
        "trait": "t",
        "operator": "NUM_GT",
        "values": ["3"],
        "of": 1,
        "seen": "2",
        "inverted": False,
    }
