"""Definitions: what operators wrote about features and audiences, as one JSON document that can be carried elsewhere.

    {"format": "rollcall-definitions-1", "audiences": {key: {"name", "any_of"}}, "features": {key: {…}}}

Grants, waves, windows, areas and keys are no definitions. Nor is a kill: a document never kills what lives here, and
never un-kills what is killed here.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from rollout.rules.definition import reading
from rollout.rules.definition.audience import parse_any_of
from rollout.rules.definition.bounds import patterns_bounded
from rollout.rules.definition.feature import Access, FeatureKind, Switch, audiences_known, parse_feature
from rollout.rules.definition.reading import Invalid, under
from rollout.rules.ruleset.document import MOST_AUDIENCES, MOST_FEATURES

FORMAT = "rollcall-definitions-1"
Definitions = dict[str, Any]

# What a feature is defined by, with what it is when nobody says otherwise; `kind` first, since values depend on it.
USUAL: Mapping[str, Any] = {
    "kind": FeatureKind.BOOLEAN.value,
    "name": "",
    "description": "",
    "owner": "",
    "tags": [],
    "salt": "",
    "switch": Switch.OFF.value,
    "killed_from": "",
    "access": Access.GRANTED.value,
    "requirements": {},
    "prerequisites": [],
    "rules": [],
    "variants": {},
    "default_variant": "on",
    "off_variant": "off",
    "visible_to_phones": False,
}
TEXTS = {"name": 100, "description": 10_000, "owner": 100}
MOST_TAGS, LONGEST_TAG = 32, 32
MOST_SALT = 32
RENAMED = {"default_variant": "default", "off_variant": "off"}
UNPUBLISHED = frozenset({"name", "description", "owner", "tags", "killed_from"})


def read_definitions(raw: Any) -> Definitions:
    """The document, with every value checked. Members that it leaves out stay out. Raises `Invalid` with a path."""
    raw = reading.mapping(raw, "", known=frozenset({"format", "audiences", "features"}), needed=frozenset({"format"}))
    reading.choice(raw["format"], "format", [FORMAT])
    audiences = reading.named(raw.get("audiences", {}), "audiences", most=MOST_AUDIENCES)
    features = reading.named(raw.get("features", {}), "features", most=MOST_FEATURES)
    return {
        "format": FORMAT,
        "audiences": {key: _audience(value, f"audiences.{key}") for key, value in audiences.items()},
        "features": {key: _feature(key, value, f"features.{key}") for key, value in features.items()},
    }


def _audience(raw: Any, path: str) -> dict[str, Any]:
    raw = reading.mapping(raw, path, known=frozenset({"name", "any_of"}), needed=frozenset({"any_of"}))
    if "name" in raw:
        reading.title(raw["name"], under(path, "name"), least=1)
    patterns_bounded(raw["any_of"], under(path, "any_of"))
    parse_any_of(raw["any_of"], under(path, "any_of"))
    return dict(raw)


def _feature(key: str, raw: Any, path: str) -> dict[str, Any]:
    raw = reading.mapping(raw, path, known=frozenset(USUAL))
    for name, most in TEXTS.items():
        if name in raw:
            reading.title(raw[name], under(path, name), most=most, least=1 if name == "name" else 0)
    where = under(path, "tags")
    for i, tag in enumerate(reading.items(raw.get("tags", []), where, most=MOST_TAGS)):
        reading.title(tag, under(where, i), most=LONGEST_TAG, least=1)
    if "salt" in raw:
        reading.text(raw["salt"], under(path, "salt"), most=MOST_SALT, least=1)
    switch = reading.choice(raw.get("switch", "off"), under(path, "switch"), list(Switch))
    if "killed_from" in raw:
        reading.choice(raw["killed_from"], under(path, "killed_from"), [Switch.OFF, Switch.ON])
        if switch != Switch.KILLED:
            raise Invalid(under(path, "killed_from"), "stands only beside the switch killed.")
    patterns_bounded(raw.get("rules", []), under(path, "rules"))
    return dict(raw)


def merged(here: Definitions, wanted: Definitions) -> tuple[Definitions, list[str]]:
    """What stands here once the wanted definitions are in it, and remarks in words. What they don't name stays.

    Raises `Invalid` where they can't be: another kind for a feature that is here, or a value that doesn't fit.
    """
    remarks: list[str] = []
    audiences, features = dict(here["audiences"]), dict(here["features"])
    for key, value in wanted["audiences"].items():
        audiences[key] = {"name": key, **audiences.get(key, {}), **value}
    for key, value in wanted["features"].items():
        features[key] = _onto(key, features.get(key), value, remarks)
        _check(key, features[key], audiences)
    return {"format": FORMAT, "audiences": audiences, "features": features}, remarks


def _onto(key: str, old: Mapping[str, Any] | None, new: Mapping[str, Any], remarks: list[str]) -> dict[str, Any]:
    if old is None:
        return complete(key, new)
    result = {**old, **{name: value for name, value in new.items() if name not in ("salt", "switch", "killed_from")}}
    if result["kind"] != old["kind"]:
        why = f"is {old['kind']} here; a feature's kind can't be changed. Make a feature with another key."
        raise Invalid(f"features.{key}.kind", why)
    if new.get("salt", old["salt"]) != old["salt"]:
        remarks.append(f"{key} keeps its salt: with another one, everybody's place in its shares would change.")
    switch = new.get("switch", old["switch"])
    if switch != old["switch"]:
        if old["switch"] == Switch.KILLED:
            remarks.append(f"{key} is killed and stays so: only un-killing it by hand takes a kill back.")
        elif switch == Switch.KILLED:
            remarks.append(f"{key} is killed in the document and stays {old['switch']} here: kill it by hand.")
        else:
            result["switch"] = switch
    return result


def complete(key: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A feature with every member. The salt stays empty when none is given: whoever stores it draws one."""
    result = {**USUAL, "name": key, **given}
    if not result["variants"] and result["kind"] == FeatureKind.BOOLEAN:
        result["variants"] = {"on": True, "off": False}
    if result["switch"] == Switch.KILLED:
        result["killed_from"] = result["killed_from"] or Switch.OFF.value
    else:
        del result["killed_from"]
    return result


def _check(key: str, definition: Mapping[str, Any], audiences: Container[str]) -> None:
    try:
        audiences_known(parse_feature(as_published(key, definition), ""), audiences)
    except Invalid as error:
        first, dot, rest = error.path.partition(".")
        back = {new: old for old, new in RENAMED.items()}
        raise Invalid(f"features.{key}.{back.get(first, first)}{dot}{rest}", error.why) from error


def as_published(key: str, definition: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The feature as the ruleset carries it. What is no definition comes from the ruleset before, if it is there."""
    usual: dict[str, Any] = {"stop_calls_before": None, "windows_open": False, "waves": []}
    kept = {name: (before or usual)[name] for name in usual}
    own = {RENAMED.get(name, name): value for name, value in definition.items() if name not in UNPUBLISHED}
    return {"key": key, **kept, **own, "salt": definition["salt"] or "0"}


def of_published(ruleset: Mapping[str, Any]) -> Definitions:
    """The definitions that a published ruleset holds; names and descriptions aren't in it."""
    back = {new: old for old, new in RENAMED.items()}
    features = {
        key: {back.get(name, name): value for name, value in feature.items() if back.get(name, name) in USUAL}
        for key, feature in ruleset["features"].items()
    }
    audiences = {key: {"any_of": any_of} for key, any_of in ruleset.get("audiences", {}).items()}
    return {"format": FORMAT, "audiences": audiences, "features": features}


def proposed(ruleset: Mapping[str, Any], after: Definitions) -> dict[str, Any]:
    """The ruleset's document with these definitions in place of its own."""
    before = ruleset["features"]
    features = {key: as_published(key, value, before.get(key)) for key, value in after["features"].items()}
    audiences = {key: value["any_of"] for key, value in after["audiences"].items()}
    return {**ruleset, "features": {**before, **features}, "audiences": audiences}
