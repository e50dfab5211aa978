"""Where audiences are used, and whether one can be."""

from __future__ import annotations

from rollout.errors import AudienceInvalid
from rollout.models import Audience, Feature, Wave
from rollout.rules.definition import reading
from rollout.rules.definition.audience import compile_audiences, names_in, parse_any_of
from rollout.rules.definition.bounds import patterns_bounded
from rollout.rules.definition.reading import Invalid

LONGEST_NAME = 100


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


def validate_audience(audience: Audience) -> None:
    """Raises `AudienceInvalid` with the path of the first fault, also of a circle through other audiences."""
    try:
        reading.key_text(audience.key, "key")
        reading.title(audience.name, "name", most=LONGEST_NAME, least=1)
        patterns_bounded(audience.any_of, "any_of")
        mine = parse_any_of(audience.any_of, "any_of")
        others = Audience.objects.exclude(key=audience.key).values_list("key", "any_of")
        compile_audiences({audience.key: mine} | {k: parse_any_of(raw, k, strict=False) for k, raw in others})
    except Invalid as error:
        path = "any_of" if error.path.startswith("audiences.") else error.path
        raise AudienceInvalid(path, error.why) from error
