"""The decision: its order, every cause, the trace, and what must hold whatever the ruleset and the person are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.decision.decision import EMPTY, GIVING, Cause, Decision, GrantFact, Party, Reason, Ruleset, decide
from rollout.rules.decision.words import say
from rollout.rules.definition.bucket import bucket
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.document import read_ruleset

NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
ALICE = "018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e5f"
PHONE = {
    "country": "DE",
    "platform": "android",
    "app_version": "2.12.0",
    "os_version": "4.4",
    "device_class": "mid",
}
HELD = {"voice-calls": GrantFact(7, "invite", depth=1, root=3)}


def feature(**changes: Any) -> dict[str, Any]:
    return {"key": "voice-calls", "kind": "boolean", "salt": "s1", "switch": "on", "access": "granted", **changes}


def ruleset(*features: dict[str, Any], audiences: dict[str, Any] | None = None) -> Ruleset:
    document = {
        "version": 1,
        "published_at": 0,
        "features": {each["key"]: each for each in features},
        "audiences": audiences or {},
    }
    return read_ruleset(document, strict=True)


def decided(raw: dict[str, Any], *, traits: Any = PHONE, grants: Any = HELD, who: str = ALICE) -> Decision:
    return decide(ruleset(raw), raw["key"], Party(who, traits, grants), NOW)


def wave(**changes: Any) -> dict[str, Any]:
    return {"name": "Germany", "position": 2, "state": "open", "share_ppm": 1_000_000, "any_of": [], **changes}


NEEDS = {"platforms": {"android": {"app": "2.12.0", "os": "4.0"}}, "device_classes": ["mid", "high"]}

ORDER = [
    (feature(switch="killed", access="everyone"), {}, Cause.KILLED, Reason.DISABLED),
    (feature(switch="off", access="everyone"), {}, Cause.SWITCHED_OFF, Reason.DISABLED),
    (feature(requirements=NEEDS, access="everyone"), {"app_version": "2.11.9"}, Cause.UPDATE_REQUIRED, Reason.DEFAULT),
    (feature(requirements=NEEDS), {"os_version": "2.3"}, Cause.OS_UPDATE_REQUIRED, Reason.DEFAULT),
    (feature(requirements=NEEDS), {"platform": "symbian"}, Cause.DEVICE_UNSUPPORTED, Reason.DEFAULT),
    (feature(requirements=NEEDS), {"device_class": "low"}, Cause.DEVICE_UNSUPPORTED, Reason.DEFAULT),
    (feature(requirements=NEEDS), {}, Cause.GRANTED_BY_INVITE, Reason.TARGETING_MATCH),
    (feature(requirements=NEEDS, access="everyone"), {}, Cause.LAUNCHED, Reason.STATIC),
    (feature(access="rules", rules=[{"name": "all"}]), {}, Cause.RULE, Reason.STATIC),
    (feature(access="rules"), {}, Cause.DEFAULT, Reason.DEFAULT),
]


@pytest.mark.parametrize(("raw", "traits", "cause", "reason"), ORDER)
def test_decision__each_step_in_order__decides_with_its_cause(
    raw: dict[str, Any], traits: dict[str, Any], cause: Cause, reason: Reason
) -> None:
    decision = decided(raw, traits=PHONE | traits)

    assert (decision.cause, decision.reason) == (cause, reason)
    assert decision.enabled is (cause in GIVING)
    assert decision.value is (cause in GIVING)
    assert decision.variant == ("on" if cause in GIVING else "off")


@pytest.mark.parametrize("missing", ["platform", "app_version", "os_version", "device_class"])
@pytest.mark.parametrize("broken", [None, "", "x.y", 3, [], {"a": 1}])
def test_requirements__trait_missing_or_malformed__is_refused(missing: str, broken: Any) -> None:
    whole = decided(feature(requirements=NEEDS))
    traits = PHONE | {missing: broken}
    if broken is None:
        del traits[missing]

    assert whole.enabled
    assert not decided(feature(requirements=NEEDS), traits=traits).enabled


@pytest.mark.parametrize(
    ("lowest", "version", "enough"),
    [
        ("2.12.0", "2.12.0", True),
        ("2.12.0", "2.12.1", True),
        ("2.12.0", "2.12", True),
        ("2.12.0", "2.12.0-beta.1", False),
        ("2.12.0", "2.9.9", False),
        ("8.10", "8.10.14219.341", True),
        ("4.0", "10", True),
        ("4.0.1", "4", False),
        ("2100000000", "2100000000", True),
        ("2100000000", "2099999999.9", False),
        ("1.0.0-99999999999999999999", "1.0.0-100000000000000000000", True),
    ],
)
def test_requirements__versions__compare_as_numbers(lowest: str, version: str, enough: bool) -> None:
    raw = feature(requirements={"platforms": {"android": {"app": lowest}}})

    assert decided(raw, traits=PHONE | {"app_version": version}).enabled is enough


def test_requirements__update_required__says_which_version() -> None:
    decision = decided(feature(requirements=NEEDS), traits=PHONE | {"app_version": "2.0.0"})

    assert decision.detail == {"version": "2.12.0"}
    assert "2.12.0" in say(decision)


def test_requirements__other_platforms__are_refused_once_one_is_named_unless_allowed() -> None:
    other = PHONE | {"platform": "ios"}

    assert not decided(feature(requirements={"platforms": {"android": {}}}), traits=other).enabled
    assert decided(feature(requirements={"platforms": {"android": {}}, "others": "allow"}), traits=other).enabled
    assert decided(feature(requirements={"device_classes": ["mid"]}), traits=other).enabled


@pytest.mark.parametrize("source", ["wave", "invite", "operator", "seed", "launch"])
def test_grant__each_source__gives_the_feature_and_names_itself(source: str) -> None:
    grants = {"voice-calls": GrantFact(1, source)}

    assert decided(feature(), grants=grants).cause == f"granted_by_{source}"
    assert decided(feature(), grants={"video-calls": GrantFact(1, source)}).cause is Cause.WAITING_FOR_LAUNCH


def test_grant__frozen__still_gives_the_feature() -> None:
    assert decided(feature(), grants={"voice-calls": GrantFact(1, "invite", frozen=True)}).enabled


@pytest.mark.parametrize("state", ["draft", "open", "held"])
def test_waiting__covered_by_a_wave_to_come__says_which(state: str) -> None:
    decision = decided(feature(waves=[wave(state=state)]), grants={})

    assert decision.cause is Cause.WAITING_FOR_WAVE
    assert decision.detail["wave"] == "Germany"
    assert decision.detail["bucket"] == bucket("s1", ALICE)
    assert "Germany" in say(decision)


NOT_COVERING = [
    wave(state="done"),
    wave(share_ppm=bucket("s1", ALICE)),
    wave(any_of=[[{"trait": "country", "operator": "IN", "values": ["FR"]}]]),
    wave(any_of=[[{"trait": "carrier", "operator": "IN", "values": ["262-03"]}]]),
]


@pytest.mark.parametrize("row", NOT_COVERING)
def test_waiting__no_wave_covers_the_person__waits_for_the_launch(row: dict[str, Any]) -> None:
    decision = decided(feature(waves=[row]), grants={})

    assert decision.cause is Cause.WAITING_FOR_LAUNCH


def test_waiting__share_one_above_the_bucket__covers() -> None:
    raw = feature(waves=[wave(share_ppm=bucket("s1", ALICE) + 1)])

    assert decided(raw, grants={}).cause is Cause.WAITING_FOR_WAVE


@pytest.mark.parametrize("window", [False, True])
def test_waiting__window__says_whether_an_invite_would_open_it(window: bool) -> None:
    decision = decided(feature(windows_open=window), grants={})

    assert decision.cause is Cause.WAITING_FOR_LAUNCH
    assert decision.detail["invite"] == ("open" if window else "closed")
    assert ("call you" in say(decision)) is window


RULES = [
    {"name": "testers", "any_of": [[{"trait": "email", "operator": "IN", "values": ["a@x"]}]], "variant": "blue"},
    {"name": "half", "share_ppm": 500_000, "variant": "green"},
]
COLOUR = feature(
    key="colour",
    kind="string",
    access="rules",
    variants={"red": "#f00", "green": "#0f0", "blue": "#00f"},
    default="red",
    off="red",
    rules=RULES,
)


def unit_with(low: int, high: int) -> str:
    return next(u for u in (f"u{i}" for i in range(10_000)) if low <= bucket("s1", u) < high)


def test_rules__the_first_that_matches__wins_and_a_missed_share_falls_through() -> None:
    inside, outside = unit_with(0, 500_000), unit_with(500_000, 1_000_000)

    tester = decided(COLOUR, traits={"email": "a@x"}, who=inside)
    half = decided(COLOUR, traits={}, who=inside)
    missed = decided(COLOUR, traits={}, who=outside)

    assert (tester.value, tester.reason, tester.detail["rule"]) == ("#00f", Reason.TARGETING_MATCH, "testers")
    assert (half.value, half.reason, half.detail["rule_position"]) == ("#0f0", Reason.SPLIT, 2)
    assert (missed.value, missed.reason, missed.cause) == ("#f00", Reason.DEFAULT, Cause.DEFAULT)


def test_rules__missed_by_all__serve_the_off_variant_never_the_default_one() -> None:
    raw = feature(access="rules", default="on", off="off", rules=[{"share_ppm": 0}])

    assert decided(raw).value is False


def test_rules__weights__split_by_a_bucket_of_their_own() -> None:
    weights = [{"variant": "green", "weight_ppm": 250_000}, {"variant": "blue", "weight_ppm": 750_000}]
    rules = ruleset(COLOUR | {"rules": [{"share_ppm": 400_000, "variants": weights}]})
    given_to = [decide(rules, "colour", Party(f"u{i}", {}), NOW).variant for i in range(20_000)]

    assert given_to.count("green") == pytest.approx(2_000, abs=200)
    assert given_to.count("blue") == pytest.approx(6_000, abs=300)


def test_rules__nobody_in_particular__is_never_in_a_share_but_in_a_whole() -> None:
    half = feature(access="rules", rules=[{"share_ppm": 999_999}])
    whole = feature(access="rules", rules=[{"share_ppm": 1_000_000}])

    assert decided(half, who="").cause is Cause.DEFAULT
    assert decided(whole, who="").cause is Cause.RULE
    assert decided(feature(waves=[wave()]), grants={}, who="").cause is Cause.WAITING_FOR_LAUNCH


@pytest.mark.parametrize(
    ("kind", "value"),
    [("boolean", True), ("string", "x"), ("integer", 3), ("float", 1.0), ("object", {"a": [1, None]})],
)
def test_variants__every_kind__come_out_as_they_went_in(kind: str, value: Any) -> None:
    raw = feature(kind=kind, access="everyone", variants={"one": value}, default="one", off="one")

    decision = decided(raw)

    assert decision.value == value
    assert type(decision.value) is type(value)


def test_variants__whole_number_of_a_float_feature__becomes_a_float() -> None:
    raw = feature(kind="float", access="everyone", variants={"one": 1}, default="one", off="one")

    assert repr(decided(raw).value) == "1.0"


VIDEO = feature(key="video-calls", access="everyone", prerequisites=["voice-calls"])
HOLO = feature(key="holo-calls", access="everyone", prerequisites=["video-calls"])


@pytest.mark.parametrize(
    ("voice", "cause", "inner"),
    [
        ({"access": "everyone"}, Cause.LAUNCHED, None),
        ({}, Cause.NEEDS_FEATURE, "waiting_for_launch"),
        ({"switch": "killed", "access": "everyone"}, Cause.NEEDS_FEATURE, "killed"),
    ],
)
def test_prerequisites__also_through_others__must_be_had(voice: Any, cause: Cause, inner: str | None) -> None:
    rules = ruleset(HOLO, VIDEO, feature(**voice))

    for key in ("video-calls", "holo-calls"):
        decision = decide(rules, key, Party(ALICE, PHONE), NOW)
        assert decision.cause is cause
        assert decision.detail.get("needs_cause") == inner
        assert decision.detail.get("needs") == ("voice-calls" if inner else None)


def test_prerequisites__own_kill__comes_first() -> None:
    rules = ruleset(VIDEO | {"switch": "killed"}, feature())

    assert decide(rules, "video-calls", Party(ALICE, PHONE), NOW).cause is Cause.KILLED


@pytest.mark.parametrize(
    ("features", "why"),
    [
        ([feature(prerequisites=["voice-calls"])], "circle"),
        ([VIDEO, feature(prerequisites=["video-calls"])], "circle"),
        ([VIDEO], "not there"),
    ],
)
def test_prerequisites__circle_or_unknown__refuse_the_ruleset(features: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        ruleset(*features)


def test_decision__unknown_feature__is_an_error_without_a_value() -> None:
    decision = decide(EMPTY, "nothing", Party(ALICE), NOW)

    assert (decision.reason, decision.cause, decision.value) == (Reason.ERROR, Cause.UNKNOWN_FEATURE, None)


class Broken(dict[str, Any]):
    def get(self, *args: Any) -> Any:
        raise ZeroDivisionError


def test_decision__a_fault_inside__is_an_error_with_the_off_variant() -> None:
    rules = ruleset(feature(requirements=NEEDS))

    decision = decide(rules, "voice-calls", Party(ALICE, Broken(), HELD), NOW)

    assert (decision.reason, decision.cause, decision.value) == (Reason.ERROR, Cause.ERROR, False)


def test_trace__shows_the_steps__up_to_the_one_that_decided() -> None:
    rules = ruleset(feature(requirements=NEEDS, waves=[wave()]))

    waiting = decide(rules, "voice-calls", Party(ALICE, PHONE), NOW, trace=True)
    old = decide(rules, "voice-calls", Party(ALICE, PHONE | {"app_version": "1.0"}), NOW, trace=True)

    assert [(s.step, s.decided) for s in waiting.trace] == [
        ("switch", False),
        ("requirements", False),
        ("access", True),
    ]
    assert waiting.trace[2].seen["waves"][0]["within_share"] is True
    assert [s.step for s in old.trace] == ["switch", "requirements"]
    assert old.trace[1].seen["lowest"] == {"app": "2.12.0", "os": "4.0"}


clauses = st.sampled_from(
    [
        {"trait": "country", "operator": "IN", "values": ["DE", "FR"]},
        {"trait": "country", "operator": "NOT_IN", "values": ["DE"]},
        {"trait": "app_version", "operator": "SEMVER_GTE", "values": ["2.0.0"]},
        {"trait": "age", "operator": "NUM_LT", "values": [30], "inverted": True},
    ]
)
any_ofs = st.lists(st.lists(clauses, min_size=1, max_size=2), max_size=2)
features = st.builds(
    lambda switch, access, rules, waves, needs, windows: feature(
        switch=switch, access=access, rules=rules, waves=waves, requirements=needs, windows_open=windows
    ),
    st.sampled_from(["on", "on", "on", "off", "killed"]),
    st.sampled_from(["granted", "rules", "everyone"]),
    st.lists(st.builds(lambda a, s: {"any_of": a, "share_ppm": s}, any_ofs, st.integers(0, 1_000_000)), max_size=3),
    st.lists(
        st.builds(
            lambda a, s, state: wave(any_of=a, share_ppm=s, state=state),
            any_ofs,
            st.integers(0, 1_000_000),
            st.sampled_from(["draft", "open", "held", "done"]),
        ),
        max_size=2,
    ),
    st.sampled_from([{}, NEEDS]),
    st.booleans(),
)
parties = st.builds(
    Party,
    st.sampled_from(["", "u1", "u2", ALICE]),
    st.fixed_dictionaries(
        {},
        optional={
            "country": st.sampled_from(["DE", "US", None, 5]),
            "platform": st.sampled_from(["android", "ios", []]),
            "app_version": st.sampled_from(["2.12.0", "1.0.0", "?"]),
            "os_version": st.just("4.4"),
            "device_class": st.sampled_from(["mid", "low"]),
            "age": st.integers(0, 99) | st.text(max_size=3),
        },
    ),
    st.sampled_from([{}, HELD]),
)


@given(features, parties)
def test_decision__whatever_comes__is_pure_closed_and_agrees_with_its_trace(raw: Any, party: Party) -> None:
    rules = ruleset(raw)

    plain = decide(rules, "voice-calls", party, NOW)
    traced = decide(rules, "voice-calls", party, NOW, trace=True)

    assert plain == decide(rules, "voice-calls", party, NOW)
    assert (plain.cause, plain.variant, plain.reason) == (traced.cause, traced.variant, traced.reason)
    assert [s.decided for s in traced.trace] == [False] * (len(traced.trace) - 1) + [True]
    assert say(plain).endswith((".", "!"))
    if raw["switch"] != "on":
        assert not plain.enabled
    assert plain.cause is not Cause.ERROR


@given(parties, st.integers(0, 999_999), st.integers(1, 1_000_000))
def test_share__raised__removes_nobody(party: Party, share: int, more: int) -> None:
    low = decided(feature(access="rules", rules=[{"share_ppm": share}]), who=party.subscriber)
    high = decided(feature(access="rules", rules=[{"share_ppm": min(1_000_000, share + more)}]), who=party.subscriber)

    assert high.enabled or not low.enabled


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"switch": "maybe"}, "switch"),
        ({"kind": "colour"}, "kind"),
        ({"salt": ""}, "salt"),
        ({"variants": {"on": 1}}, "variants.on"),
        ({"default": "nope"}, "default"),
        ({"off": 3}, "off"),
        ({"rules": [{"share_ppm": 1_000_001}]}, "rules[0].share_ppm"),
        ({"rules": [{"share_ppm": 0.5}]}, "rules[0].share_ppm"),
        ({"rules": [{"share_ppm": True}]}, "rules[0].share_ppm"),
        ({"rules": [{"variant": "nope"}]}, "rules[0].variant"),
        ({"rules": [{"variants": [{"variant": "on", "weight_ppm": 1}]}]}, "rules[0].variants"),
        ({"rules": [{"sharee": 1}]}, "rules[0].sharee"),
        ({"rules": [{"any_of": [[{"trait": "t"}]]}]}, "rules[0].any_of[0][0].operator"),
        ({"rules": [{}] * 101}, "rules"),
        ({"requirements": {"platforms": {"android": {"app": "two"}}}}, "requirements.platforms.android.app"),
        ({"requirements": {"device_classes": ["tiny"]}}, "requirements.device_classes[0]"),
        ({"requirements": {"others": "perhaps"}}, "requirements.others"),
        ({"prerequisites": ["UPPER"]}, "prerequisites[0]"),
        ({"waves": [{"name": "x"}]}, "waves[0].any_of"),
        ({"visible_to_phones": 1}, "visible_to_phones"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_feature__what_cannot_be_used__is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        ruleset(feature(**change))

    assert refused.value.path == f"features.voice-calls.{path}"
