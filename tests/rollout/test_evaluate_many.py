"""`evaluate_many` agrees with `decide` on every row, whatever the feature and the table are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import mmh3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.rules.bulk.evaluation import CHUNK, evaluate_many
from rollout.rules.bulk.masks import Masks
from rollout.rules.bulk.murmur import TextUnits, UuidUnits
from rollout.rules.bulk.table import Coded, read_table
from rollout.rules.decision.decision import Cause, Decision, Ruleset, decide
from rollout.rules.definition.audience import AnyOf, compile_any_of, parse_any_of
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.document import read_ruleset

NOW = datetime(2015, 3, 31, 12, 0, tzinfo=UTC)
MILLION = 1_000_000
NAMESPACE = UUID("018f3c1e-7b1a-7c3d-9e2f-0a1b2c3d4e5f")

TEXTS = ["DE", "de", "AT", "", "2.12.0", "2.12.0-rc.1", "v2.12", "17", "17.5", "true", "10.1.2.3", "::ffff:10.1.2.3"]
TEXTS += ["::1", "Straße", "1.0.0-99999999999999999999", "99999999999999999999.0.0"]
TIMES = ["2015-03-31T12:00:00Z", "2015-03-31", "2016-01-01T00:00:00+02:00", "0001-01-01T00:00:00+23:00"]
TIMES += ["2015-06-30t23:59:60z", "2015-07-01T00:00:00Z", "2015-03-31T12:00:00", "2015-03-31T12:00:00,5Z"]
VERSIONS = ["2.12.0", "2.12.0-rc.1", "1.0.0-100000000000000000000"]
NUMBERS = ["17", "17.5", "0.1", "-3", "1e3", "9007199254740993", "1e300"]
TRAITS = ["country", "app_version", "os_version", "platform", "device_class", "age", "joined_at", "currentTime", "x"]

many = st.builds(
    dict,
    trait=st.sampled_from(TRAITS),
    operator=st.sampled_from(["IN", "NOT_IN", "STR_CONTAINS", "STR_STARTS_WITH", "STR_ENDS_WITH", "IN_CIDR", "ODD"]),
    values=st.lists(st.sampled_from([*TEXTS, "10.0.0.0/8", "::/0", "::ffff:10.0.0.0/104"]), max_size=3),
    inverted=st.booleans(),
    case_insensitive=st.booleans(),
)


def single(operators: list[str], values: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        dict,
        trait=st.sampled_from(TRAITS),
        operator=st.sampled_from(operators),
        values=st.lists(st.sampled_from(values), min_size=1, max_size=1),
        inverted=st.booleans(),
    )


clauses = st.one_of(
    many,
    single(["NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"], NUMBERS),
    single(["DATE_AFTER", "DATE_BEFORE"], TIMES),
    single(
        ["SEMVER_EQ", "SEMVER_GT", "SEMVER_GTE", "SEMVER_LT", "SEMVER_LTE"],
        VERSIONS,
    ),
    single(["REGEX"], ["^D", "[0-9]+", "(", "ß"]),
)
named = st.builds(dict, audience=st.sampled_from(["a", "b"]), inverted=st.booleans())
conditions = st.recursive(
    st.one_of(clauses, clauses, named),
    lambda inner: st.builds(
        dict,
        any_of=st.lists(st.lists(inner, min_size=1, max_size=2), max_size=2),
        inverted=st.booleans(),
    ),
    max_leaves=3,
)
any_ofs = st.lists(st.lists(conditions, min_size=1, max_size=3), max_size=2)
plain_any_ofs = st.lists(st.lists(clauses, min_size=1, max_size=2), max_size=2)
shares = st.sampled_from([0, 1, 300_000, 999_999, MILLION])
splits = [{"variant": "on", "weight_ppm": 300_000}, {"variant": "blue", "weight_ppm": 0}]
splits += [{"variant": "off", "weight_ppm": 700_000}]
rules = st.lists(
    st.builds(
        lambda any_of, share, split: {"any_of": any_of, "share_ppm": share, **({"variants": splits} if split else {})},
        any_ofs,
        shares,
        st.booleans(),
    ),
    max_size=4,
)
waves = st.lists(
    st.builds(
        lambda any_of, share, state: {
            "name": state,
            "position": 1,
            "state": state,
            "share_ppm": share,
            "any_of": any_of,
        },
        any_ofs,
        shares,
        st.sampled_from(["draft", "open", "held", "done"]),
    ),
    max_size=2,
)
requirements = st.sampled_from(
    [
        {},
        {"platforms": {"android": {"app": "2.12", "os": "4.0"}, "ios": {}}, "device_classes": ["mid", "high"]},
        {"platforms": {"android": {"app": "2.12.0-rc.1"}, "ios": {"os": "17"}}, "others": "allow"},
        {"others": "refuse"},
    ]
)


def feature(key: str, needs: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "key": st.just(key),
            "kind": st.just("string"),
            "salt": st.sampled_from(["", "s", "a1b2c3d4e5f60718", "schlüssel"]).map(lambda s: s or "salt"),
            "switch": st.sampled_from(["on", "on", "on", "off", "killed"]),
            "access": st.sampled_from(["rules", "rules", "granted", "everyone"]),
            "variants": st.just({"on": "1", "off": "0", "blue": "2"}),
            "requirements": requirements,
            "prerequisites": st.just(needs),
            "rules": rules,
            "waves": waves,
            "windows_open": st.booleans(),
        }
    )


rulesets = st.builds(
    lambda voice, video, a, b: read_ruleset(
        {
            "version": 1,
            "published_at": 0,
            "features": {"voice": voice, "video": video},
            "audiences": {"a": a, "b": [*b, [{"audience": "a", "inverted": True}]]},
        }
    ),
    feature("voice", []),
    st.sampled_from([["voice"], []]).flatmap(lambda needs: feature("video", needs)),
    plain_any_ofs,
    plain_any_ofs,
)

SIZE = 24
values = st.one_of(
    st.sampled_from([*TEXTS, *TIMES, "android", "ios", "mid", "low", "4.4"]),
    st.sampled_from([None, 17, 17.5, True, False, float("nan"), float("inf"), 2**53 + 1, ["DE"], {"a": 1}]),
)
numbers = st.sampled_from([-3, 0, 17, 18, 1000, 2**53 + 1])


def listed(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, min_size=SIZE, max_size=SIZE)


flags = listed(st.booleans())
numeric = st.one_of(
    st.builds(lambda found, mask: np.ma.MaskedArray(found, mask), listed(numbers), flags),
    listed(numbers).map(lambda found: np.array(found, np.int64)),
    listed(st.sampled_from([0, 17, 200])).map(lambda found: np.array(found, np.uint8)),
    listed(st.sampled_from([17.5, 17.0, -3.0, float("nan"), float("inf"), 0.1])).map(
        lambda found: np.array(found, np.float32)
    ),
    listed(st.sampled_from([17.5, 17.0, -3.0, 1e300, float("nan")])).map(lambda found: np.array(found)),
)
times = st.builds(
    lambda found, unit: np.array(found, f"datetime64[{unit}]"),
    listed(st.sampled_from(["2015-03-31T12:00:00", "2016-01-01", "NaT", "1969-12-31T23:59:59", "2015-03-31"])),
    st.sampled_from(["s", "ms", "us", "ns"]),
)
columns = st.one_of(
    listed(values),
    listed(values).map(lambda found: np.array([*found, None], object)[:-1]),
    st.builds(
        lambda categories, codes: Coded(categories, np.array([c % (len(categories) + 1) - 1 for c in codes], np.int8)),
        st.lists(values, max_size=5),
        listed(st.integers(0, 100)),
    ),
    listed(st.sampled_from(TEXTS)).map(lambda found: np.array(found)),
    listed(st.sampled_from(TEXTS)).map(lambda found: np.array([each.encode() for each in found])),
    listed(st.sampled_from([b"DE", b"\xff"])).map(lambda found: np.array(found)),
    numeric,
    times,
    flags.map(lambda found: np.array(found)),
)
who = st.integers(0, 30).map(lambda n: uuid5(NAMESPACE, str(n)))
units = st.one_of(
    listed(who).map(lambda ids: np.array([list(each.bytes) for each in ids], np.uint8)),
    listed(who).map(lambda ids: np.array([each.bytes for each in ids], "V16")),
    listed(st.one_of(who.map(str), st.just(""), st.just("ab"))).map(np.array),
    listed(st.one_of(who.map(str), st.just(""))).map(lambda ids: np.array([each.encode() for each in ids])),
    listed(st.one_of(who.map(str), st.just("älice"), st.none(), who)),
    st.builds(lambda ids, mask: np.ma.MaskedArray(ids, mask), listed(who.map(str)), flags),
)
grants = st.one_of(
    flags.map(np.array),
    listed(st.sampled_from(["", "wave", "invite", "operator", "seed", "launch", "gift"])).map(np.array),
    listed(st.sampled_from([None, "invite", False])),
)
tables = st.fixed_dictionaries(
    {},
    optional={"subscriber": units, "grant:voice": grants, "grant:video": grants, **dict.fromkeys(TRAITS, columns)},
).filter(bool)


def facts(decision: Decision) -> tuple[Any, ...]:
    """All that a row's outcome says; the bucket of somebody who waits is the row's own."""
    detail = {name: value for name, value in decision.detail.items() if name != "bucket"}
    return decision.feature, decision.value, decision.variant, decision.reason, decision.cause, detail


@settings(max_examples=150, deadline=None)
@given(rulesets, tables, st.sampled_from(["voice", "video"]))
def test_evaluate_many__any_feature_and_table__agrees_with_decide_on_every_row(
    ruleset: Ruleset, raw: dict[str, Any], key: str
) -> None:
    table = read_table(raw)

    verdicts = evaluate_many(ruleset.features[key], raw, NOW)

    for row in range(table.size):
        decision = decide(ruleset, key, table.party(row), NOW)
        assert facts(verdicts.outcomes[verdicts.outcome[row]]) == facts(decision)
        assert verdicts.enabled[row] == decision.enabled
        assert verdicts.variants[verdicts.variant[row]] == decision.variant
        assert list(Cause)[verdicts.cause[row]] is decision.cause


def alike(any_of: AnyOf, raw: dict[str, Any]) -> None:
    """The masks of an audience are where it is true, and where it is false, of the rows one by one."""
    table, test = read_table(raw), compile_any_of(any_of, {})
    answers = [test(table.party(row).traits, NOW) for row in range(table.size)]

    masks = Masks(table, {}, NOW)

    assert masks.where(any_of, True)(slice(0, table.size)).tolist() == [answer is True for answer in answers]
    assert masks.where(any_of, False)(slice(0, table.size)).tolist() == [answer is False for answer in answers]


def age(operators: list[str], values: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return single(operators, values).map(lambda clause: {**clause, "trait": "age"})


@settings(max_examples=300, deadline=None)
@given(age(["NUM_EQ", "NUM_GT", "NUM_GTE", "NUM_LT", "NUM_LTE"], NUMBERS), numeric)
def test_mask__of_numbers_as_they_stand__is_where_python_says(clause: dict[str, Any], column: Any) -> None:
    alike(parse_any_of([[clause]], "any_of"), {"age": column})


@settings(max_examples=200, deadline=None)
@given(single(["DATE_AFTER", "DATE_BEFORE"], TIMES), times, st.sampled_from(["age", "currentTime"]))
def test_mask__of_times_as_they_stand__is_where_python_says(clause: dict[str, Any], column: Any, trait: str) -> None:
    alike(parse_any_of([[{**clause, "trait": trait}]], "any_of", strict=False), {trait: column})


@settings(max_examples=300, deadline=None)
@given(st.one_of(clauses, clauses.map(lambda clause: {**clause, "trait": "age"})), columns)
def test_mask__of_any_clause_and_column__is_where_the_clause_holds(clause: dict[str, Any], column: Any) -> None:
    alike(parse_any_of([[clause]], "any_of", strict=False), {clause["trait"]: column})


ins = st.builds(
    dict,
    trait=st.sampled_from("xyz"),
    operator=st.sampled_from(["IN", "NOT_IN"]),
    values=st.sampled_from([["1"], ["2"], []]),
    inverted=st.booleans(),
)
nested = st.recursive(
    ins,
    lambda inner: st.builds(
        dict, any_of=st.lists(st.lists(inner, min_size=1, max_size=3), max_size=3), inverted=st.booleans()
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(nested, min_size=1, max_size=2), max_size=2))
def test_mask__of_nested_lists__follows_kleene(raw: list[Any]) -> None:
    cube = [(x, y, z) for x in ("1", "2", None) for y in ("1", "2", None) for z in ("1", "2", None)]

    alike(parse_any_of(raw, "any_of", strict=False), {name: [row[i] for row in cube] for i, name in enumerate("xyz")})


def by_rules(**changes: Any) -> dict[str, Any]:
    return {"key": "f", "kind": "boolean", "salt": "s1", "switch": "on", "access": "rules", **changes}


def one(raw: dict[str, Any]) -> Ruleset:
    return read_ruleset({"version": 1, "published_at": 0, "features": {"f": raw}}, strict=True)


def test_evaluate_many__structured_array__reads_its_fields_as_columns() -> None:
    people = np.array(
        [(b"\x01" * 16, "DE", 17, True), (b"\x02" * 16, "AT", 18, False)],
        dtype=[("subscriber", "V16"), ("country", "U2"), ("age", "i4"), ("grant:f", "?")],
    )
    ruleset = one(by_rules(access="granted"))

    verdicts = evaluate_many(ruleset.features["f"], people, NOW)

    assert read_table(people).party(0).traits == {"country": "DE", "age": 17}
    assert read_table(people).party(0).subscriber == "01010101-0101-0101-0101-010101010101"
    assert verdicts.enabled.tolist() == [True, False]


def test_evaluate_many__more_rows_than_one_chunk__decides_them_all_alike() -> None:
    size = 2 * CHUNK + 17
    ids = np.random.default_rng(3).integers(0, 256, (size, 16), dtype=np.uint8)
    ruleset = one(by_rules(rules=[{"share_ppm": 250_000}, {"share_ppm": 500_000}]))
    table = read_table({"subscriber": ids})

    verdicts = evaluate_many(ruleset.features["f"], table, NOW)

    rows = [0, CHUNK - 1, CHUNK, 2 * CHUNK, size - 1, *range(0, size, 997)]
    expected = [facts(decide(ruleset, "f", table.party(row), NOW)) for row in rows]
    assert [facts(verdicts.outcomes[verdicts.outcome[row]]) for row in rows] == expected
    assert len(verdicts.outcome) == size
    assert abs(verdicts.enabled.mean() - 0.5) < 0.01


def test_evaluate_many__no_rows__answers_none() -> None:
    verdicts = evaluate_many(one(by_rules()).features["f"], {"country": []}, NOW)

    assert len(verdicts.outcome) == 0


class Arrow:
    """As much of Arrow's dictionary array as is asked of it."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values
        self.dictionary = self
        self.indices = self

    def to_pylist(self) -> list[Any]:
        return self._values


def test_table__of_arrow_dictionary__reads_its_nulls_as_missing() -> None:
    column = Arrow([])
    column.dictionary, column.indices = Arrow(["DE", "AT"]), Arrow([1, None, 0])

    table = read_table({"country": column})

    assert [table.party(row).traits.get("country") for row in range(3)] == ["AT", None, "DE"]


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({}, "table"),
        ([1, 2], "table"),
        ({"country": 5}, "table"),
        ({"country": ["DE"], "age": [1, 2]}, "table.age"),
        ({"country": Coded(["DE"], np.array([0, 1]))}, "table.country"),
        ({"country": Coded(["DE"], np.array([0.5]))}, "table.country"),
        ({"country": np.zeros((2, 2))}, "table.country"),
        ({"country": np.zeros(2, complex)}, "table.country"),
        ({"subscriber": np.zeros(2)}, "table.subscriber"),
    ],
)
def test_table__of_unusable_columns__is_refused_with_the_path(raw: Any, path: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_table(raw)

    assert refusal.value.path == path


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.lists(st.binary(min_size=16, max_size=16), max_size=5),
)
def test_hashes__of_uuids__are_those_of_their_canonical_text(prefix: str, ids: list[bytes]) -> None:
    raw = np.frombuffer(b"".join(ids), np.uint8).reshape(len(ids), 16)

    hashes = UuidUnits(raw).hashes(prefix, np.arange(len(ids)))

    assert hashes.tolist() == [mmh3.hash(prefix + str(UUID(bytes=each)), 0, False) for each in ids]


@given(st.text("äbc1", max_size=9), st.lists(st.text("äbc1-", max_size=12), min_size=1, max_size=9))
def test_hashes__of_texts_of_all_lengths__are_those_taken_one_by_one(prefix: str, ids: list[str]) -> None:
    hashes = TextUnits(np.array(ids)).hashes(prefix, np.arange(len(ids)))

    assert hashes.tolist() == [mmh3.hash(prefix + each, 0, False) for each in ids]
