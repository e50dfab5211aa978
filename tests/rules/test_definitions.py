"""Definitions and differences: what a document may say, what it leaves alone, and how a change is said."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.definitions import FORMAT, merged, of_published, proposed, read_definitions
from rollout.rules.ruleset.difference import What, differences, summary
from rollout.rules.ruleset.document import read_ruleset

GERMANS = [[{"trait": "country", "operator": "IN", "values": ["DE"]}]]
HERE: dict[str, Any] = {
    "format": FORMAT,
    "audiences": {"near": {"name": "Near", "any_of": GERMANS}},
    "features": {
        "voice": {
            "kind": "boolean", "name": "Voice", "description": "", "owner": "", "tags": [], "salt": "ab",
            "switch": "on", "access": "rules", "requirements": {}, "prerequisites": [],
            "rules": [{"name": "Germans", "any_of": [[{"audience": "near"}]], "share_ppm": 200_000}],
            "variants": {"on": True, "off": False}, "default_variant": "on", "off_variant": "off",
            "visible_to_phones": False,
        }
    },
}  # fmt: skip


def wanted(**features: Any) -> dict[str, Any]:
    return {"format": FORMAT, "features": {key.replace("_", "-"): value for key, value in features.items()}}


def after(**fields: Any) -> tuple[dict[str, Any], list[str]]:
    result, remarks = merged(HERE, read_definitions(wanted(voice=fields)))
    return result["features"]["voice"], remarks


def test_merged__with_what_is_there__changes_nothing() -> None:
    result, remarks = merged(HERE, read_definitions(HERE))

    assert result == HERE
    assert remarks == []
    assert differences(HERE, result) == []


def test_merged__part_of_a_feature__keeps_the_rest_and_what_is_not_named() -> None:
    result, _ = merged(HERE, read_definitions(wanted(voice={"name": "Calls"}, video={})))

    assert result["features"]["voice"] == HERE["features"]["voice"] | {"name": "Calls"}
    assert result["audiences"] == HERE["audiences"]
    video = result["features"]["video"]
    assert (video["name"], video["switch"], video["variants"]) == ("video", "off", {"on": True, "off": False})


@pytest.mark.parametrize(
    ("here", "given", "then", "said"),
    [
        ("on", "off", "off", False),
        ("off", "on", "on", False),
        ("on", "killed", "on", True),
        ("killed", "on", "killed", True),
        ("killed", "off", "killed", True),
        ("killed", "killed", "killed", False),
    ],
)
def test_merged__switches__never_move_a_kill(here: str, given: str, then: str, said: bool) -> None:
    old = HERE["features"]["voice"] | {"switch": here} | ({"killed_from": "on"} if here == "killed" else {})
    now = {**HERE, "features": {"voice": old}}

    result, remarks = merged(now, read_definitions(wanted(voice={"switch": given})))

    assert result["features"]["voice"]["switch"] == then
    assert result["features"]["voice"].get("killed_from") == old.get("killed_from")
    assert bool(remarks) is said


def test_merged__new_feature_that_is_killed__comes_killed() -> None:
    result, _ = merged(HERE, read_definitions(wanted(video={"switch": "killed", "killed_from": "on"})))

    assert (result["features"]["video"]["switch"], result["features"]["video"]["killed_from"]) == ("killed", "on")


def test_merged__another_salt__is_not_taken_and_says_so() -> None:
    result, remarks = after(salt="cd")

    assert result["salt"] == "ab"
    assert remarks == ["voice keeps its salt: with another one, everybody's place in its shares would change."]


BAD: list[tuple[Any, str]] = [
    (None, ""),
    ({}, "format"),
    ({"format": "other"}, "format"),
    ({"format": FORMAT, "grants": []}, "grants"),
    ({"format": FORMAT, "features": []}, "features"),
    ({"format": FORMAT, "features": {"A b": {}}}, "features"),
    (wanted(voice={"kind": "string"}), "features.voice.kind"),
    (wanted(voice={"rules": [{"share_ppm": 2_000_000}]}), "features.voice.rules[0].share_ppm"),
    (wanted(voice={"default_variant": "blue"}), "features.voice.default_variant"),
    (wanted(voice={"salt": ""}), "features.voice.salt"),
    (wanted(voice={"switch": "maybe"}), "features.voice.switch"),
    (wanted(voice={"killed_from": "on"}), "features.voice.killed_from"),
    (wanted(voice={"tags": ["x" * 33]}), "features.voice.tags[0]"),
    ({"format": FORMAT, "features": {".": {}}}, "features"),
    (wanted(voice={"name": "Voice \u202ecalls"}), "features.voice.name"),
    ({"format": FORMAT, "audiences": {"..": {}}}, "audiences"),
    (wanted(voice={"windows_open": True}), "features.voice.windows_open"),
    ({"format": FORMAT, "audiences": {"a": {}}}, "audiences.a.any_of"),
    ({"format": FORMAT, "audiences": {"a": {"any_of": [[{"trait": 1}]]}}}, "audiences.a.any_of[0][0].operator"),
]


@pytest.mark.parametrize(("raw", "path"), BAD, ids=[f"{path}-{i}" for i, (_, path) in enumerate(BAD)])
def test_document__that_can_not_be_used__names_the_place(raw: Any, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        merged(HERE, read_definitions(raw))

    assert refused.value.path == path


def test_published__and_back__holds_the_same_definitions() -> None:
    empty = {"version": 1, "published_at": 1, "features": {}, "audiences": {}, "areas": {}, "api_keys": {}}

    ruleset = proposed(empty, HERE)

    assert read_ruleset(ruleset).features["voice"].feature.rules[0].share_ppm == 200_000
    assert merged(HERE, read_definitions(of_published(ruleset))) == (HERE, [])


WORDS: list[tuple[dict[str, Any], str]] = [
    ({"switch": "off"}, "The feature voice, switch: “off” instead of “on”."),
    ({"visible_to_phones": True}, "The feature voice, visible to phones: yes instead of no."),
    ({"tags": ["a", "b"]}, "The feature voice, tags: with a, b."),
    (
        {"rules": [{**HERE["features"]["voice"]["rules"][0], "share_ppm": 500_000}]},
        "The feature voice, rule 1 “Germans”, share: 50 % instead of 20 %.",
    ),
    ({"rules": []}, "The feature voice, rule 1 “Germans” is taken away: "),
    ({"requirements": {"others": "refuse"}}, "The feature voice, requirements, others is added: “refuse”."),
]


@pytest.mark.parametrize(("change", "words"), WORDS)
def test_difference__of_one_thing__is_one_sentence(change: dict[str, Any], words: str) -> None:
    result, _ = after(**change)

    changes = differences(HERE, {**HERE, "features": {"voice": result}})

    assert len(changes) == 1
    assert changes[0].words.startswith(words), changes[0].words
    assert changes[0].path.startswith("features.voice.")


def test_differences__added_and_removed__say_so_and_are_counted() -> None:
    changes = differences(HERE, {"features": {}, "audiences": {**HERE["audiences"], "far": {"any_of": []}}})

    assert [(change.path, change.what) for change in changes] == [
        ("features.voice", What.REMOVED),
        ("audiences.far", What.ADDED),
    ]
    assert summary(changes) == "2 changes: 1 added, 1 removed."
    assert summary([]) == "Nothing changes."
    assert "before" not in changes[1].as_json()


def test_differences__one_and_true__are_not_the_same() -> None:
    old, new = {"features": {"f": {"variants": {"on": True}}}}, {"features": {"f": {"variants": {"on": 1}}}}

    assert [change.path for change in differences(old, new)] == ["features.f.variants.on"]
