"""Generated code decides as the rules read one after another do, and holds nothing of a ruleset in its source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.decision import compiling
from rollout.rules.decision.decision import Cause, Compiled, Decision, Party, Reason, decide, decide_all
from rollout.rules.decision.generating import Row, write
from rollout.rules.definition.audience import compile_any_of
from rollout.rules.definition.bucket import MILLION, bucket, least_hash_beyond, variant_bucket, weighted
from rollout.rules.definition.feature import Feature
from rollout.rules.ruleset.document import read_ruleset

NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
TRAITS = ["country", "platform", "app_version", "age"]
LONG = ["1.0.99999999999999999999", "1.0.0-99999999999999999999"]
VALUES = ["DE", "AT", "android", "2.12.0", "2.11.0-rc.1", "17", "true", "", *LONG]

clauses = st.one_of(
    st.builds(
        dict,
        trait=st.sampled_from(TRAITS),
        operator=st.sampled_from(["IN", "NOT_IN", "STR_CONTAINS"]),
        values=st.lists(st.sampled_from(VALUES), max_size=3),
        inverted=st.booleans(),
        case_insensitive=st.booleans(),
    ),
    st.builds(
        dict,
        trait=st.sampled_from(TRAITS),
        operator=st.sampled_from(["SEMVER_EQ", "SEMVER_GT", "SEMVER_GTE", "SEMVER_LT", "SEMVER_LTE", "NUM_GT"]),
        values=st.sampled_from([["2.12.0"], ["2.11.0"], ["1.0.100000000000000000000"], ["17"], []]),
        inverted=st.booleans(),
    ),
)
any_ofs = st.lists(st.lists(clauses, min_size=1, max_size=10), max_size=2)
splits = [{"variant": "on", "weight_ppm": 300_000}, {"variant": "off", "weight_ppm": 700_000}]
rules = st.lists(
    st.builds(
        lambda any_of, share, split: {"any_of": any_of, "share_ppm": share, **({"variants": splits} if split else {})},
        any_ofs,
        st.sampled_from([0, 1, 250_000, 999_999, MILLION]),
        st.booleans(),
    ),
    max_size=5,
)
seen = st.one_of(
    st.sampled_from([*VALUES, "2.13.0"]), st.none(), st.integers(16, 18), st.booleans(), st.just(["DE"]), st.just({})
)
people = st.builds(
    Party, st.sampled_from(["", "alice", "bob", "carol", "dora"]), st.dictionaries(st.sampled_from(TRAITS), seen)
)


def compiled(raw: list[dict[str, Any]]) -> Compiled:
    feature = {"key": "f", "kind": "boolean", "salt": "s1", "switch": "on", "access": "rules", "rules": raw}
    return read_ruleset({"version": 1, "published_at": 0, "features": {"f": feature}}).features["f"]


def one_after_another(feature: Feature, party: Party) -> tuple[str, int]:
    """The rules as ROLLOUT.md says them, with no thought of speed: the variant, and which rule (0 for none)."""
    for i, rule in enumerate(feature.rules):
        in_share = rule.share_ppm == MILLION or (
            bool(party.subscriber) and bucket(feature.salt, party.subscriber) < rule.share_ppm
        )
        if compile_any_of(rule.any_of, {})(party.traits, NOW) is not True or not in_share:
            continue
        if len(rule.variants) == 1:
            return rule.variants[0], i + 1
        if party.subscriber:
            return rule.variants[weighted(variant_bucket(feature.salt, party.subscriber), rule.weights_ppm)], i + 1
    return feature.off, 0


@given(rules, people)
def test_generated_rules__any_rules_and_person__decide_as_one_after_another(
    raw: list[dict[str, Any]], party: Party
) -> None:
    feature = compiled(raw)

    decision = feature.decide(party, NOW)

    variant, rule = one_after_another(feature.feature, party)
    assert (decision.variant, decision.detail.get("rule_position", 0)) == (variant, rule)
    assert decision.cause is (Cause.RULE if rule else Cause.DEFAULT)


@given(rules, people)
def test_rules_of_further_shapes__any_rules_and_person__decide_alike(raw: list[dict[str, Any]], party: Party) -> None:
    whole = compiled(raw)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(compiling, "MOST_SHAPES", 0)
        one_by_one = compiled(raw)

    assert one_by_one.decide(party, NOW) == whole.decide(party, NOW)


@given(rules, people)
def test_trace__any_rules_and_person__ends_in_the_same_decision(raw: list[dict[str, Any]], party: Party) -> None:
    feature = {"key": "f", "kind": "boolean", "salt": "s1", "switch": "on", "access": "rules", "rules": raw}
    ruleset = read_ruleset({"version": 1, "published_at": 0, "features": {"f": feature}})

    plain, traced = decide(ruleset, "f", party, NOW), decide(ruleset, "f", party, NOW, trace=True)

    assert (plain.variant, plain.cause, plain.detail) == (traced.variant, traced.cause, traced.detail)
    assert traced.trace[-1].decided


@given(st.integers(0, MILLION), st.integers(0, 2**32 - 1))
def test_least_hash_beyond__any_share_and_hash__agrees_with_the_bucket(share: int, hashed: int) -> None:
    assert (hashed < least_hash_beyond(share)) is ((hashed * MILLION) >> 32 < share)


def test_source__of_hostile_constants__holds_none_of_them() -> None:
    hostile = '"); import os; ("'
    clause = {"trait": hostile, "operator": "IN", "values": [hostile]}
    parsed = compiled([{"name": hostile, "any_of": [[clause]], "share_ppm": 5}]).feature
    outcome = Decision("f", True, "on", Reason.SPLIT, Cause.RULE)
    test = compile_any_of(parsed.rules[0].any_of, {})

    written = write(hostile, [Row(parsed.rules[0].any_of, test, 5, [outcome], [MILLION])])

    assert "import" not in written.source
    assert hostile in written.bound


def test_shape__of_two_alike_features__is_compiled_once() -> None:
    def decide_of(values: list[str], share: int) -> Any:
        clause = {"trait": values[0], "operator": "IN", "values": values}
        return compiled([{"any_of": [[clause]], "share_ppm": share}]).decide

    first, second = decide_of(["a"], 5), decide_of(["b", "c"], 700)

    assert first.__code__ is second.__code__


@pytest.mark.parametrize("broken", [True, False])
def test_decide_all__with_a_fault_in_one_feature__decides_the_others(broken: bool) -> None:
    sound = compiled([{}])

    def fault(party: Party, now: datetime) -> Decision:
        raise RuntimeError("a fault of ours")

    faulty = replace(sound, decide=fault) if broken else sound

    decisions = decide_all([sound, faulty, sound], Party("alice"), NOW)

    assert [decision.cause for decision in decisions] == [Cause.RULE, Cause.ERROR if broken else Cause.RULE, Cause.RULE]
