"""A feature as the ruleset carries it: read from JSON into values, with every bound checked."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rollout.rules.definition import reading
from rollout.rules.definition.audience import AnyOf, names_in, parse_any_of
from rollout.rules.definition.bucket import MILLION
from rollout.rules.definition.reading import Invalid, under
from rollout.rules.definition.requirements import Requirements, parse_requirements

MOST_VARIANTS = 50
MOST_RULES = 100
MOST_WAVES = 200
MOST_PREREQUISITES = 8
LONGEST_VALUE_TEXT = 4_096
LARGEST_OBJECT = 200  # members and entries, in all, of one object variant


class FeatureKind(StrEnum):
    BOOLEAN = "boolean"
    STRING = "string"
    INTEGER = "integer"
    FLOAT = "float"
    OBJECT = "object"


class Switch(StrEnum):
    OFF = "off"
    ON = "on"
    KILLED = "killed"


class Access(StrEnum):
    GRANTED = "granted"
    RULES = "rules"
    EVERYONE = "everyone"


class WaveState(StrEnum):
    DRAFT = "draft"
    OPEN = "open"
    HELD = "held"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Rule:
    """Audience AND share → one variant, or several by weight (parts per million that sum to a million)."""

    name: str
    any_of: AnyOf
    share_ppm: int
    variants: tuple[str, ...]
    weights_ppm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wave:
    name: str
    position: int
    state: WaveState
    share_ppm: int
    any_of: AnyOf


@dataclass(frozen=True, slots=True)
class Feature:
    """`default` is the variant of those who have it, `off` that of those who haven't (docs/decisions/0006)."""

    key: str
    kind: FeatureKind
    salt: str
    switch: Switch
    access: Access
    variants: Mapping[str, Any]
    default: str
    off: str
    requirements: Requirements
    prerequisites: tuple[str, ...]
    rules: tuple[Rule, ...]
    visible_to_phones: bool
    stop_calls_before: int | None
    windows_open: bool
    waves: tuple[Wave, ...]


_NEEDED = frozenset({"key", "kind", "salt", "switch", "access"})
_KNOWN = _NEEDED | {
    "variants",
    "default",
    "off",
    "requirements",
    "prerequisites",
    "rules",
    "visible_to_phones",
    "stop_calls_before",
    "windows_open",
    "waves",
}


def parse_feature(raw: Any, path: str, *, strict: bool = True) -> Feature:
    """Raises `Invalid` with the path of the first fault."""
    raw = reading.mapping(raw, path, known=_KNOWN, needed=_NEEDED, strict=strict)
    kind = FeatureKind(reading.choice(raw["kind"], under(path, "kind"), list(FeatureKind)))
    variants = parse_variants(raw.get("variants", {}), under(path, "variants"), kind)
    default = _variant(raw.get("default", "on"), under(path, "default"), variants)
    key = reading.key_text(raw["key"], under(path, "key"))
    where = under(path, "prerequisites")
    needs = [
        reading.key_text(each, under(where, i))
        for i, each in enumerate(reading.items(raw.get("prerequisites", []), where, most=MOST_PREREQUISITES))
    ]
    stop = raw.get("stop_calls_before")
    return Feature(
        key=key,
        kind=kind,
        salt=reading.text(raw["salt"], under(path, "salt"), least=1, most=64),
        switch=Switch(reading.choice(raw["switch"], under(path, "switch"), list(Switch))),
        access=Access(reading.choice(raw["access"], under(path, "access"), list(Access))),
        variants=variants,
        default=default,
        off=_variant(raw.get("off", "off"), under(path, "off"), variants),
        requirements=parse_requirements(raw.get("requirements", {}), under(path, "requirements")),
        prerequisites=tuple(dict.fromkeys(needs)),
        rules=tuple(
            parse_rule(each, under(under(path, "rules"), i), variants, default, strict=strict)
            for i, each in enumerate(reading.items(raw.get("rules", []), under(path, "rules"), most=MOST_RULES))
        ),
        visible_to_phones=reading.flag(raw.get("visible_to_phones", False), under(path, "visible_to_phones")),
        stop_calls_before=None
        if stop is None
        else reading.integer(stop, under(path, "stop_calls_before"), least=0, most=2**53),
        windows_open=reading.flag(raw.get("windows_open", False), under(path, "windows_open")),
        waves=_waves(raw.get("waves", []), under(path, "waves"), strict=strict),
    )


def parse_variants(raw: Any, path: str, kind: FeatureKind) -> dict[str, Any]:
    """Variants by name, of the feature's kind. A boolean feature without any has `on` and `off`."""
    found = reading.named(raw, path, most=MOST_VARIANTS)
    if not found and kind is FeatureKind.BOOLEAN:
        return {"on": True, "off": False}
    return {name: _value(value, under(path, name), kind) for name, value in found.items()}


def _value(raw: Any, path: str, kind: FeatureKind) -> Any:
    match kind:
        case FeatureKind.BOOLEAN:
            return reading.flag(raw, path)
        case FeatureKind.STRING:
            return reading.text(raw, path, most=LONGEST_VALUE_TEXT)
        case FeatureKind.INTEGER:
            return reading.integer(raw, path, least=-(2**53) + 1, most=2**53 - 1)
        case FeatureKind.FLOAT:
            reading.plain_value(raw, path)
            if isinstance(raw, bool) or not isinstance(raw, int | float):
                raise Invalid(path, "expected a number.")
            return float(raw)
        case FeatureKind.OBJECT:
            if not isinstance(raw, dict):
                raise Invalid(path, "expected an object.")
            reading.plain_value(raw, path)
            if _members(raw) > LARGEST_OBJECT:
                raise Invalid(path, f"has more than {LARGEST_OBJECT} members.")
            return raw


def _members(raw: Any) -> int:
    inner = list(raw.values()) if isinstance(raw, dict) else raw if isinstance(raw, list) else []
    return len(inner) + sum(_members(each) for each in inner)


def _variant(raw: Any, path: str, variants: Mapping[str, Any]) -> str:
    if not isinstance(raw, str) or raw not in variants:
        raise Invalid(path, f"names no variant of this feature; there are {', '.join(sorted(variants)) or 'none'}.")
    return raw


def audiences_known(feature: Feature, known: Container[str], path: str = "") -> None:
    """Also of rules that don't decide as long as access isn't by rules. Raises `Invalid` at the first unknown name."""
    for i, rule in enumerate(feature.rules):
        for name in sorted(names_in(rule.any_of)):
            if name not in known:
                where = under(under(under(path, "rules"), i), "any_of")
                raise Invalid(where, f"names the audience {name!r}, which is not there.")


_RULE = frozenset({"name", "any_of", "share_ppm", "variant", "variants"})


def parse_rule(raw: Any, path: str, variants: Mapping[str, Any], default: str, *, strict: bool = True) -> Rule:
    """`variant` names one, `variants` several with weights: `[{"variant": "a", "weight_ppm": 500000}, …]`."""
    raw = reading.mapping(raw, path, known=_RULE)
    if "variant" in raw and "variants" in raw:
        raise Invalid(under(path, "variant"), "stands beside variants; give one of them.")
    names, weights = [], []
    if "variants" in raw:
        where = under(path, "variants")
        for i, each in enumerate(reading.items(raw["variants"], where, most=MOST_VARIANTS, least=1)):
            here = under(where, i)
            each = reading.mapping(
                each, here, known=frozenset({"variant", "weight_ppm"}), needed=frozenset({"variant"})
            )
            names.append(_variant(each["variant"], under(here, "variant"), variants))
            share = reading.integer(each.get("weight_ppm"), under(here, "weight_ppm"), least=0, most=MILLION)
            weights.append(share)
        if sum(weights) != MILLION:
            raise Invalid(where, f"has weights that sum to {sum(weights)}; they must sum to {MILLION}.")
    else:
        names.append(_variant(raw.get("variant", default), under(path, "variant"), variants))
        weights.append(MILLION)
    return Rule(
        name=(reading.title if strict else reading.text)(raw.get("name", ""), under(path, "name"), most=100),
        any_of=parse_any_of(raw.get("any_of", []), under(path, "any_of"), strict=strict),
        share_ppm=reading.integer(raw.get("share_ppm", MILLION), under(path, "share_ppm"), least=0, most=MILLION),
        variants=tuple(names),
        weights_ppm=tuple(weights),
    )


_WAVE = frozenset({"name", "position", "state", "share_ppm", "any_of"})


def _waves(raw: Any, path: str, *, strict: bool) -> tuple[Wave, ...]:
    """Not strict, waves in a state of a later version are left out: a wave only says who waits for it."""
    each = list(enumerate(reading.items(raw, path, most=MOST_WAVES)))
    if not strict:
        each = [(i, wave) for i, wave in each if not isinstance(wave, dict) or _known_state(wave.get("state"))]
    return tuple(parse_wave(wave, under(path, i), strict=strict) for i, wave in each)


def _known_state(state: Any) -> bool:
    return not isinstance(state, str) or state in list(WaveState)


def parse_wave(raw: Any, path: str, *, strict: bool = True) -> Wave:
    raw = reading.mapping(raw, path, known=_WAVE, needed=_WAVE, strict=strict)
    return Wave(
        name=reading.text(raw["name"], under(path, "name"), most=100),
        position=reading.integer(raw["position"], under(path, "position"), least=0, most=1_000_000),
        state=WaveState(reading.choice(raw["state"], under(path, "state"), list(WaveState))),
        share_ppm=reading.integer(raw["share_ppm"], under(path, "share_ppm"), least=0, most=MILLION),
        any_of=parse_any_of(raw["any_of"], under(path, "any_of"), strict=strict),
    )
