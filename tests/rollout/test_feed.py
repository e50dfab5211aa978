"""The feed: what changed lately, merged into what a token says; kept on disk; forgotten in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.rules.decision.decision import GrantFact
from rollout.serving.feed import MOST_ROWS, Feed, FeedRow, feed_rows, merge

T = 1_427_803_200.0


def row(id: int, kind: str = "grant.created", at: float = T, **payload: Any) -> FeedRow:
    return FeedRow(id, kind, {"subscriber": "bob", "feature": "f", "grant": id, "source": "invite", **payload}, at)


def test_add__the_same_row_twice_and_out_of_order__counts_once_in_order() -> None:
    feed = Feed(keep=100)

    first = feed.add([row(3), row(1)])
    second = feed.add([row(2), row(3)])

    assert [each.id for each in first] == [1, 3]
    assert [each.id for each in second] == [2]
    assert [each.id for each in feed.facts_for("bob", T)] == [1, 2, 3]
    assert feed.last_id == 3


def test_facts_for__since_a_moment__reaches_ten_seconds_further_back() -> None:
    feed = Feed(keep=100)
    feed.add([row(1, at=T - 11), row(2, at=T - 9), row(3, at=T + 5)])

    assert [each.id for each in feed.facts_for("bob", T)] == [2, 3]
    assert feed.facts_for("alice", T) == []


HELD = {"f": GrantFact(5, "operator")}
MERGES = [
    ([], {"f": 5}),
    ([row(9)], {"f": 9}),
    ([row(5, "grant.revoked")], {}),
    ([row(4, "grant.revoked")], {"f": 5}),
    ([row(5, "grant.revoked"), row(9)], {"f": 9}),
    ([row(9), row(5, "grant.revoked")], {"f": 9}),
    ([row(9), row(9, "grant.revoked")], {}),
    ([row(9, feature="g")], {"f": 5, "g": 9}),
    ([row(9, "device.revoked")], {"f": 5}),
    ([row(9, feature=None)], {"f": 5}),
]


@pytest.mark.parametrize(("facts", "expected"), MERGES)
def test_merge__facts_in_order__happen_to_the_tokens_grants(facts: list[FeedRow], expected: dict[str, int]) -> None:
    merged = merge(HELD, facts)

    assert {feature: grant.id for feature, grant in merged.items()} == expected
    assert set(HELD) == {"f"}


def test_merge__frozen_and_thawed__keeps_the_grant() -> None:
    frozen = merge(HELD, [row(5, "grant.frozen")])
    thawed = merge(frozen, [row(5, "grant.thawed")])

    assert frozen["f"].frozen
    assert not thawed["f"].frozen


def test_forget__older_than_a_token_can_be__is_dropped_and_nothing_else() -> None:
    feed = Feed(keep=100)
    feed.add([row(1, at=T - 101), row(2, "device.revoked", at=T - 101, device="d"), row(3, at=T - 99)])

    assert feed.is_revoked("d")
    assert feed.forget(T) == 2
    assert [each.id for each in feed.facts_for("bob", T - 1000)] == [3]
    assert not feed.is_revoked("d")


def test_forget__too_many__drops_grants_but_never_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_ROWS > 100_000
    monkeypatch.setattr("rollout.serving.feed.MOST_ROWS", 3)
    feed = Feed(keep=100)
    feed.add([row(1, "grant.revoked"), row(2), row(3), row(4), row(5)])

    feed.forget(T)

    assert [each.id for each in feed.facts_for("bob", T)] == [1, 4, 5]


def test_save_and_restore__give_back_the_rows_and_damage_gives_nothing(tmp_path: Path) -> None:
    before = Feed(keep=100)
    before.add([row(1), row(2, "device.revoked", device="d")])
    before.save(tmp_path / "feed.json")
    whole = (tmp_path / "feed.json").read_bytes()

    after = Feed(keep=100)
    damaged = Feed(keep=100)
    assert after.restore(tmp_path / "feed.json") == 2
    (tmp_path / "feed.json").write_bytes(whole[:-3])
    assert damaged.restore(tmp_path / "feed.json") == 0
    assert Feed(keep=1).restore(tmp_path / "absent.json") == 0

    assert after.facts_for("bob", T) == before.facts_for("bob", T)
    assert after.is_revoked("d")
    assert after.last_id == 2


def test_feed_row__keeps_only_what_is_needed() -> None:
    assert feed_rows(1, "grant.created", {"grant": 1, "words": "x" * 1000}, T)[0].payload == {"grant": 1}
    assert feed_rows(1, "grant.created", None, T)[0].payload == {}


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["grant.created", "grant.revoked"])), max_size=12))
def test_merge__overlap_read_again__changes_nothing(events: list[tuple[int, str]]) -> None:
    """A token minted after some events carries their outcome; hearing of them again must give the same."""
    facts = [row(i, kind, grant=grant) for i, (grant, kind) in enumerate(_possible(events), start=1)]

    outcome = merge({}, facts)

    assert merge(outcome, facts) == outcome


def _possible(events: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Only what can happen: grants are made with rising ids, one live at a time, and revoked while they are live."""
    told, live, last = [], None, 0
    for _, kind in events:
        if kind == "grant.created" and live is None:
            live = last = last + 1
            told.append((live, kind))
        elif kind == "grant.revoked" and live is not None:
            told.append((live, kind))
            live = None
    return told


def test_feed__batch_of_a_wave__is_known_for_each_person_and_counts_once() -> None:
    feed = Feed(keep=100)
    payload = {"feature": "voice-calls", "source": "wave", "depth": 0, "at": T, "people": ["a", "b"], "grants": [7, 8]}

    fresh = feed.add(feed_rows(1, "grants.created", payload, T))
    again = feed.add(feed_rows(1, "grants.created", payload, T))

    assert [row.payload["subscriber"] for row in fresh] == ["a", "b"]
    assert again == []
    assert merge({}, feed.facts_for("b", T))["voice-calls"].id == 8
    assert feed.forget(T + 101) == 2
    assert feed.facts_for("b", T) == []
