"""Rulesets across versions: what was published is decided alike for ever, and tomorrow's is read as far as is safe."""

from __future__ import annotations

import base64
import copy
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from rollout.rules.decision.decision import GrantFact, Party, Ruleset, decide
from rollout.rules.definition.reading import Invalid
from rollout.rules.ruleset.document import FORMAT, LEAST_READER, read_ruleset
from rollout.serving.ruleset import load

VECTOR = json.loads((Path(__file__).parent.parent / "vectors" / "ruleset_format_1.json").read_text(encoding="utf-8"))
DOCUMENT: dict[str, Any] = json.loads(VECTOR["body"])


def decisions(ruleset: Ruleset) -> list[dict[str, Any]]:
    """What the people of the vector get, as it is written there."""
    told = []
    for person in VECTOR["people"]:
        grants = {feature: GrantFact(1, source) for feature, source in person["grants"].items()}
        party, now = Party(person["subscriber"], person["traits"], grants), datetime.fromisoformat(VECTOR["now"])
        each = {key: decide(ruleset, key, party, now) for key in DOCUMENT["features"]}
        told.append(
            {key: {"variant": d.variant, "cause": str(d.cause), "detail": dict(d.detail)} for key, d in each.items()}
        )
    return told


EXPECTED = [person["decisions"] for person in VECTOR["people"]]


def test_ruleset__of_format_1__is_verified_read_and_decided_as_when_it_was_published() -> None:
    signature, key = base64.b64decode(VECTOR["signature"]), VerifyKey(base64.b64decode(VECTOR["public_key"]))

    ruleset = load(VECTOR["body"].encode(), signature, key)

    assert ruleset.version == 7
    assert decisions(ruleset) == EXPECTED


def test_ruleset__that_names_no_format__is_read_as_the_first() -> None:
    raw = {name: value for name, value in DOCUMENT.items() if name not in ("format", "least_reader")}

    assert decisions(read_ruleset(raw)) == EXPECTED


def tomorrow() -> dict[str, Any]:
    """The same ruleset as a later version may write it for readers of today."""
    raw = copy.deepcopy(DOCUMENT) | {"format": FORMAT + 1, "least_reader": LEAST_READER, "holidays": ["2016-01-01"]}
    for feature in raw["features"].values():
        feature |= {"archived": False, "theme": {"colour": "#fff"}}
        for wave in feature["waves"]:
            wave["colour"] = "green"
    paused = {"name": "x", "position": 1, "state": "paused", "share_ppm": 1_000_000, "any_of": [], "until": 5}
    raw["features"]["voice-calls"]["waves"].insert(0, paused)
    raw["areas"]["DE"]["regions"] = ["Bavaria"]
    strange = [[{"trait": "country", "operator": "SOUNDS_LIKE", "values": ["DE"]}]]
    raw["features"]["plan"]["rules"].append({"any_of": strange})
    return raw


def test_ruleset__of_tomorrow_for_readers_of_today__decides_the_same() -> None:
    assert decisions(read_ruleset(tomorrow())) == EXPECTED


@pytest.mark.parametrize("least", [FORMAT + 1, 99])
def test_ruleset__for_newer_readers_only__is_refused_and_says_what_to_do(least: int) -> None:
    with pytest.raises(Invalid, match="run a newer version") as refused:
        read_ruleset(tomorrow() | {"least_reader": least})

    assert refused.value.path == "least_reader"


def test_document__of_an_operator__is_read_strictly() -> None:
    for place, path in [("holidays", "holidays"), ("archived", "features.voice-calls.archived")]:
        raw = copy.deepcopy(DOCUMENT)
        (raw if place == "holidays" else raw["features"]["voice-calls"])[place] = False

        with pytest.raises(Invalid) as refused:
            read_ruleset(raw, strict=True)

        assert refused.value.path == path
