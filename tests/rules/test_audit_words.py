"""The audit in words: no raw verb, subject or actor stands on a page."""

from __future__ import annotations

import pytest

from controlplane.audit.rules.verbs import EFFECTS
from controlplane.audit.rules.words import actor_words, deed_words


@pytest.mark.parametrize(
    ("verb", "subject", "words"),
    [
        ("wave.opened", "wave:3 First", "Wave First opened"),
        ("feature.switched_on", "feature:voice-calls", "Feature voice-calls switched on"),
        ("grants.given", "feature:voice-calls", "Feature voice-calls: grants given"),
        ("api_key.revoked", "api_key:7", "API key 7 revoked"),
        ("area.capacity_unknown", "area:DE Germany", "Area Germany capacity unknown"),
        ("ruleset.published", "", "Ruleset published"),
    ],
)
def test_deed__of_each_form__is_a_sentence_in_words(verb: str, subject: str, words: str) -> None:
    assert deed_words(verb, subject) == words


def test_deed__of_every_verb__has_neither_dots_nor_underscores() -> None:
    for verb in EFFECTS:
        words = deed_words(verb, f"{verb.partition('.')[0]}:1 Thing")
        assert not set("._:") & set(words), verb


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("automatic", "closing time", "Rollcall (closing time)"),
        ("operator", "olga", "olga"),
        ("api_key", "backend (rk_1…)", "API key backend (rk_1…)"),
    ],
)
def test_actor__of_each_kind__is_told_apart(kind: str, name: str, words: str) -> None:
    assert actor_words(kind, name) == words
