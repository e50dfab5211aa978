"""Where audiences are used."""

from __future__ import annotations

from rollout.models import Audience, Feature, Wave
from rollout.rules.definition.audience import names_in, parse_any_of


def uses(key: str) -> list[str]:
    """Every place that names the audience, as in `features.voice-calls.rules[0]`, in a fixed order."""
    found = []
    for feature in Feature.objects.order_by("key").values_list("key", "rules"):
        for i, rule in enumerate(feature[1]):
            if _names(rule.get("any_of", []), key):
                found.append(f"features.{feature[0]}.rules[{i}]")
    waves = Wave.objects.order_by("feature__key", "position").values_list("feature__key", "name", "any_of")
    found += [f"features.{owner}.waves.{name}" for owner, name, any_of in waves if _names(any_of, key)]
    others = Audience.objects.exclude(key=key).order_by("key").values_list("key", "any_of")
    return found + [f"audiences.{other}" for other, any_of in others if _names(any_of, key)]


def _names(any_of: object, key: str) -> bool:
    return key in names_in(parse_any_of(any_of, "", strict=False))
