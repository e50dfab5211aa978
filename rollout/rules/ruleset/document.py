"""The ruleset's JSON document, read into a `Ruleset` that is ready to decide.

`format` is the form that it is written in, `least_reader` the oldest reader that may use it (both 1 where they are
missing). A reader refuses what is not for it. Otherwise it ignores unknown members of the document, of features, waves
and areas, and waves in unknown states; an unknown operator never matches. Rules, conditions, requirements, API keys,
switch, access and kind must be understood whole: ignoring a part of these could give more than was meant.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from rollout.rules.decision.compiling import Workbench, compile_by_steps
from rollout.rules.decision.decision import ApiKeyFact, Ruleset
from rollout.rules.definition import reading
from rollout.rules.definition.area import KEY_PATTERN as AREA_PATTERN
from rollout.rules.definition.area import AreaPlace
from rollout.rules.definition.audience import AnyOf, compile_audiences, parse_any_of
from rollout.rules.definition.feature import parse_feature
from rollout.rules.definition.reading import Invalid, under

T = TypeVar("T")

FORMAT = 1  # that this version writes, and reads whole
LEAST_READER = 1  # who may use what this version writes
MOST_FEATURES = 2_000
MOST_AUDIENCES = 1_000
MOST_KEYS = 1_000
MOST_AREAS = 2_000
_NEEDED = frozenset({"version", "published_at", "features"})
_KNOWN = _NEEDED | {"format", "least_reader", "audiences", "api_keys", "areas"}
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


def read_ruleset(raw: Any, *, digest: str = "", signature: bytes = b"", strict: bool = False) -> Ruleset:
    """A ruleset from its parsed JSON. Raises `Invalid` with the path of the first fault."""
    return done(read_by_steps(raw, digest=digest, signature=signature, strict=strict))


def read_by_steps(
    raw: Any, *, digest: str = "", signature: bytes = b"", strict: bool = False
) -> Generator[None, None, Ruleset]:
    """The same, a step for each audience and two for each feature."""
    raw = reading.mapping(raw, "", known=_KNOWN, needed=_NEEDED, strict=strict)
    _readable(raw)
    audiences: dict[str, AnyOf] = {}
    for key, value in reading.named(raw.get("audiences", {}), "audiences", most=MOST_AUDIENCES).items():
        audiences[key] = parse_any_of(value, f"audiences.{key}", strict=strict)
        yield
    features = {}
    for key, value in reading.named(raw["features"], "features", most=MOST_FEATURES).items():
        features[key] = parse_feature(value, f"features.{key}", strict=strict)
        if features[key].key != key:
            raise Invalid(f"features.{key}.key", "differs from the name that it stands under.")
        yield
    tests = compile_audiences(audiences)
    yield
    compiled = yield from compile_by_steps(features, Workbench(audiences, tests))
    return Ruleset(
        version=reading.integer(raw["version"], "version", least=1, most=2**53),
        published_at=reading.integer(raw["published_at"], "published_at", least=0, most=2**53),
        features=compiled,
        audiences=audiences,
        tests=tests,
        api_keys=_api_keys(raw.get("api_keys", {})),
        areas=_areas(raw.get("areas", {}), strict=strict),
        digest=digest,
        signature=signature,
    )


def _readable(raw: Mapping[str, Any]) -> None:
    reading.integer(raw.get("format", 1), "format", least=1, most=2**31)
    least = reading.integer(raw.get("least_reader", 1), "least_reader", least=1, most=2**31)
    if least > FORMAT:
        raise Invalid("least_reader", f"is {least}, and this process reads {FORMAT}: run a newer version of it.")


def done(steps: Generator[None, None, T]) -> T:
    """What the steps come to, taken all at once."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


def _api_keys(raw: Any) -> dict[str, ApiKeyFact]:
    if not isinstance(raw, dict) or len(raw) > MOST_KEYS:
        raise Invalid("api_keys", f"expected an object with at most {MOST_KEYS} members.")
    found = {}
    for digest, value in raw.items():
        path = under("api_keys", str(digest)[:8])
        if not isinstance(digest, str) or not _DIGEST.match(digest):
            raise Invalid(path, "expected the SHA-256 of a key in 64 hexadecimal digits.")
        value = reading.mapping(value, path, known=frozenset({"id", "name", "scopes", "expires_at"}))
        scopes = reading.items(value.get("scopes", []), under(path, "scopes"), most=20)
        expires = value.get("expires_at")
        if expires is not None:
            expires = reading.integer(expires, under(path, "expires_at"), least=0, most=2**53)
        found[digest] = ApiKeyFact(
            id=reading.text(value.get("id"), under(path, "id"), most=64, least=1),
            name=reading.text(value.get("name", ""), under(path, "name")),
            scopes=frozenset(reading.text(each, under(path, "scopes"), most=32) for each in scopes),
            expires_at=expires,
        )
    return found


def _areas(raw: Any, *, strict: bool) -> tuple[AreaPlace, ...]:
    if not isinstance(raw, dict) or len(raw) > MOST_AREAS:
        raise Invalid("areas", f"expected an object with at most {MOST_AREAS} members.")
    found = []
    for key, value in raw.items():
        path = under("areas", str(key)[:64])
        if not isinstance(key, str) or not re.match(AREA_PATTERN, key):
            raise Invalid(path, "has a key that no area can have.")
        value = reading.mapping(value, path, known=frozenset({"countries", "carriers"}), strict=strict)
        names = []
        for part in ("countries", "carriers"):
            where = under(path, part)
            given = reading.items(value.get(part, []), where, most=2_000)
            names.append(frozenset(reading.text(each, under(where, i), most=7) for i, each in enumerate(given)))
        found.append(AreaPlace(key, names[0], names[1]))
    return tuple(found)
