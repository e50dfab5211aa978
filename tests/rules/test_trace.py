"""Every step of real decisions is told in whole sentences, without a trace of the data behind it."""

from __future__ import annotations

import pytest

from rollout.rules.decision.trace import told

WAVE = {
    "wave": "First",
    "state": "open",
    "share_ppm": 125_000,
    "within_share": False,
    "in_audience": True,
    "any_of": [
        [
            {
                "matched": True,
                "trait": "country",
                "operator": "IN",
                "values": ["DE", "AT"],
                "of": 3,
                "seen": "DE",
                "inverted": False,
            }
        ],
        [{"matched": None, "audience": "testers", "any_of": [[]], "inverted": True}],
    ],
}


@pytest.mark.parametrize(
    ("step", "seen", "sentences"),
    [
        ("switch", {"switch": "on"}, ["The switch is on."]),
        (
            "prerequisites",
            {"needs": [{"feature": "voice-calls", "enabled": False, "cause": "killed"}]},
            ["It needs voice-calls, which they lack (killed)."],
        ),
        ("access", {"access": "everyone"}, ["It is launched: everybody has it."]),
        (
            "access",
            {"access": "granted", "grant": None, "bucket": 881_758, "waves": [], "invite": "closed"},
            ["Only holders of a grant have it, and they hold none.", "Inviting is closed."],
        ),
        (
            "access",
            {
                "access": "granted",
                "grant": {"id": 7, "source": "invite", "depth": 2, "frozen": True},
                "bucket": None,
                "waves": [],
                "invite": "open",
            },
            ["They hold grant 7, by invite, depth 2, frozen: they keep it and can't invite.", "Inviting is open."],
        ),
        (
            "access",
            {"access": "granted", "grant": None, "bucket": 881_758, "waves": [WAVE], "invite": "closed"},
            [
                "Only holders of a grant have it, and they hold none.",
                "Wave “First” (open) takes 12.5 %: their bucket is 881,758 of 1,000,000, not within it.",
                "They are in its audience: country IN DE, AT and 1 more (theirs is “DE”: yes); "
                "or not audience “testers” [] (can't be told).",
                "Inviting is closed.",
            ],
        ),
        (
            "requirements",
            {
                "traits": {"platform": "android", "app_version": "2.11.0", "os_version": None, "device_class": "low"},
                "lowest": {"app": "2.12.0", "os": None},
                "device_classes": ["high", "mid"],
                "others": "refuse",
            },
            [
                "The device is on android, app 2.11.0, system unknown.",
                "android needs at least app 2.12.0.",
                "The device class is low; it must be high or mid.",
            ],
        ),
        ("default", {"variant": "off", "why": "No rule gives the feature."}, None),
    ],
)
def test_step__seen__is_told_in_sentences(step: str, seen: dict[str, object], sentences: list[str] | None) -> None:
    lines = told(step, seen)

    assert lines == sentences or sentences is None
    assert all(line.endswith(".") and "{" not in line and "None" not in line for line in lines)
