"""Parsing by pieces gives what orjson gives, and refuses what orjson refuses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.ruleset.document import done
from rollout.rules.ruleset.pieces import parse_by_steps

leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
documents = st.dictionaries(st.text(max_size=3), values, max_size=4)


@given(documents | values, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_pieces__of_any_document__are_the_whole(document: Any, layout: int) -> None:
    text = orjson.dumps(document, option=layout).decode()

    assert done(parse_by_steps(text)) == orjson.loads(text)


@given(documents.map(lambda document: orjson.dumps(document).decode()), st.data())
def test_pieces__of_a_damaged_document__are_refused_as_the_whole_is(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.sampled_from(["", ",", "}", '"', "NaN", "0", "\\ud800", "\n"])) + text[at + 1 :]
    try:
        whole = orjson.loads(damaged)
    except orjson.JSONDecodeError:
        with pytest.raises(ValueError):
            done(parse_by_steps(damaged))
    else:
        assert done(parse_by_steps(damaged)) == whole


def test_pieces__of_a_ruleset__come_feature_by_feature() -> None:
    text = '{"version": 1, "features": {"a": {"key": "a"}, "b": {}}, "areas": {}}'

    assert len(list(parse_by_steps(text))) == 5


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{}x", '{"a" 1}', "{1:2}"]
)
def test_pieces__of_half_a_document__are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        done(parse_by_steps(text))
