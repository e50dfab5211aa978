"""Poisoned rulesets, put straight into the table, the doorbell and the file: nothing crashes, nothing changes.

A thousand seeded mutants each. What a mutant is made of, not `load` itself, says that it must be refused.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import redis.asyncio
from nacl.signing import SigningKey

from rollout.rules.decision.decision import Party, decide
from rollout.serving.feed import Feed
from rollout.serving.ruleset import BadRuleset, Rulesets, Signed, canonical, load, sign
from rollout.serving.watch import Watcher
from tests.rollout.test_ruleset import KEY, NOW, Knobs, connector, document

MUTANTS = 1_000
GERMAN = Party("someone", {"country": "DE", "age": 30, "plan": "gold"})
# Members whose value may be of any type, or may be left out: changing these poisons nothing.
FREE = frozenset({"note"})
WRONG: dict[type, tuple[Any, ...]] = {
    dict: (None, [], "x", 7, True),
    list: (None, {}, "x", 7, False),
    str: (None, 7, [], {}, True),
    bool: (None, "yes", 1, [], {}),
    int: ("1", [], {}, True, 1.5, -(2**63)),
}
Path_ = tuple[Any, ...]


def good(version: int) -> dict[str, Any]:
    """A document that uses every part of the format."""
    made = document(
        version,
        variants={"on": True, "off": False},
        default="on",
        off="off",
        requirements={"platforms": {"android": {"app": "2.12.0", "os": "4.0"}}, "others": "allow"},
        prerequisites=["base"],
        visible_to_phones=True,
        windows_open=False,
        waves=[{"name": "w", "position": 1, "state": "open", "share_ppm": 5, "any_of": [[{"audience": "big"}]]}],
        access="rules",
    )
    base = {"key": "base", "kind": "boolean", "salt": "b", "switch": "on", "access": "everyone"}
    made["features"]["base"] = base
    made["audiences"]["deep"] = [[{"any_of": [[{"audience": "big", "inverted": True}]]}]]
    return made


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every place of the document below its root, except under names that are somebody's own."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from places(member, (*path, name))


def put(raw: Any, path: Path_, value: Any) -> None:
    for step in path[:-1]:
        raw = raw[step]
    raw[path[-1]] = value


def get(raw: Any, path: Path_) -> Any:
    for step in path:
        raw = raw[step]
    return raw


# A clause's value may be text, a number or a flag: only what is none of these is wrong there. `expires_at` and
# `stop_calls_before` may be null; `position` and the like have their own bounds.
def wrong_value(dice: random.Random, path: Path_, old: Any) -> Any:
    if "values" in path and not isinstance(old, list):
        return dice.choice([None, [], {}, "x" * 300])
    if path[-1] in ("expires_at", "stop_calls_before"):
        return dice.choice(["soon", [], {}, True, -1])
    return dice.choice(WRONG[type(old)])


def structural(dice: random.Random, version: int) -> bytes:
    """Well signed, of one wrong type somewhere, with a foreign member, or without a needed one."""
    raw = good(version)
    kind = dice.randrange(10)
    if kind < 7:
        path = dice.choice([place for place in places(raw) if place != ("version",)])
        put(raw, path, wrong_value(dice, path, get(raw, path)))
    elif kind == 7:
        objects: list[Path_] = [("features", "voice-calls", "rules", 0), ("features", "voice-calls", "requirements"),
                                ("audiences", "big", 0, 0), ("api_keys", "ab" * 32)]  # fmt: skip
        get(raw, dice.choice(objects))["extra"] = dice.choice([1, None, "x"])
    elif kind == 8:
        needed = [("features",), ("published_at",), ("features", "base", "salt"), ("features", "base", "key"),
                  ("features", "voice-calls", "waves", 0, "state"), ("audiences", "big")]  # fmt: skip
        path = dice.choice(needed)
        del get(raw, path[:-1])[path[-1]]
    else:
        poisons: list[tuple[Path_, Any]] = [
            (("features", "base", "prerequisites"), ["voice-calls"]),
            (("features", "base", "prerequisites"), ["nowhere"]),
            (("audiences", "big"), [[{"audience": "deep"}]]),
            (("features", "voice-calls", "rules"), [{}] * 101),
            (("features", "voice-calls", "rules", 0, "share_ppm"), 1_000_001),
            (("features", "voice-calls", "variants"), {f"v{i}": True for i in range(51)}),
            (("audiences", "big", 0, 0, "values"), ["x"] * 5_001),
            (("audiences", "big"), [[{"trait": "a", "operator": "REGEX", "values": ["a"]}] * 50] * 11),
            (("audiences", "big"), orjson.loads(b"[" * 200 + b"]" * 200)),
        ]
        put(raw, *dice.choice(poisons))
    return canonical(raw)


def mutant(dice: random.Random, version: int) -> Signed:
    """A ruleset that nobody may use: broken after signing, signed by somebody else, or signed though it is wrong."""
    kind = dice.randrange(4)
    body = canonical(good(version))
    if kind == 0:
        broken = bytearray(body)
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(broken))
            broken[at : at + dice.randint(0, 4)] = dice.randbytes(dice.randint(0, 4))
        if bytes(broken) == body:
            broken += b" "
        return Signed(version, bytes(broken), sign(body, KEY))
    if kind == 1:
        return Signed(
            version, body, dice.choice([b"", b"\x00" * 64, dice.randbytes(64), sign(body, SigningKey.generate())])
        )
    if kind == 2:
        body = dice.choice([body[: dice.randrange(len(body))], dice.randbytes(200), canonical(good(version + 1))])
        return Signed(version, body, sign(body, KEY))
    body = structural(dice, version)
    return Signed(version, body, sign(body, KEY))


@pytest.fixture
def held() -> Rulesets:
    rulesets = Rulesets(KEY.verify_key)
    body = canonical(good(1))
    assert rulesets.swap(Signed(1, body, sign(body, KEY)))
    return rulesets


def test_mutants__through_load__are_refused_in_words_and_time(held: Rulesets) -> None:
    dice, first = random.Random(7), held.current
    before = decide(first, "voice-calls", GERMAN, NOW)
    slowest = 0.0

    for version in range(2, MUTANTS + 2):
        one = mutant(dice, version)
        began = time.process_time()
        if not _may_stand_elsewhere(one):
            with pytest.raises(BadRuleset) as refused:
                load(one.body, one.signature, KEY.verify_key)
            assert str(refused.value).endswith((".", "}", "]")) or refused.value.path
        assert not held.swap(one), one.body[:500]
        slowest = max(slowest, time.process_time() - began)

    assert held.current is first
    assert held.refused == MUTANTS
    assert decide(held.current, "voice-calls", GERMAN, NOW) == before
    assert slowest < 0.5


def _may_stand_elsewhere(one: Signed) -> bool:
    """Whether it is a sound ruleset of another version, which only its place makes wrong."""
    try:
        return bool(orjson.loads(one.body)["version"] == one.version + 1)
    except (ValueError, TypeError, KeyError):
        return False


def test_mutants__in_the_snapshot_file__start_nothing(tmp_path: Path) -> None:
    dice, path = random.Random(8), tmp_path / "ruleset.json"
    Rulesets(KEY.verify_key, path).save(Signed(1, canonical(good(1)), sign(canonical(good(1)), KEY)))
    whole = path.read_bytes()

    for number in range(MUTANTS):
        if number % 2:
            broken = bytearray(whole)
            for _ in range(dice.randint(1, 4)):
                at = dice.randrange(len(broken))
                broken[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
            content = bytes(broken) if bytes(broken) != whole else whole[:-1]
        else:  # whole on the outside
            one = mutant(dice, 2)
            fields = {
                "version": one.version,
                "body": base64.b64encode(one.body).decode(),
                "signature": base64.b64encode(one.signature).decode(),
            }
            if dice.random() < 0.2:
                fields[dice.choice(list(fields))] = dice.choice([None, 7, [], "é", {}])
            inner = canonical(fields)
            content = hashlib.sha256(inner).hexdigest().encode() + b"\n" + inner
        path.write_bytes(content)
        fresh = Rulesets(KEY.verify_key, path)

        assert not fresh.start_from_disk(), content[:300]
        assert fresh.current.version == 0
        assert fresh.refused == 1


INSERT = (
    "INSERT INTO rollout_ruleset (version, body, signature, key_id, published_at, published_by, note)"
    " VALUES (%s, %s, %s, 'test', now(), 'mallory', '')"
)


@pytest.mark.django_db(transaction=True)
async def test_mutants__in_the_table_and_the_doorbell__leave_an_edge_as_it_was(
    stack_environment: dict[str, str], redis_url: str, tmp_path: Path
) -> None:
    dice = random.Random(9)
    connect: Callable[[], Any] = connector(stack_environment)
    held = Rulesets(KEY.verify_key, tmp_path / "ruleset.json")
    bell = redis.asyncio.Redis.from_url(redis_url)
    watcher = Watcher(Knobs(tmp_path), held, Feed(0.0), connect, bell)
    table: psycopg.AsyncConnection[Any] = await connect()
    body = canonical(good(1))
    await table.execute(INSERT, [1, body, sign(body, KEY)])
    await watcher.look()
    assert held.current.version == 1
    snapshot = (tmp_path / "ruleset.json").read_bytes()
    first = held.current

    for version in range(2, MUTANTS + 2):
        one = mutant(dice, version)
        await table.execute(INSERT, [version, one.body, one.signature])
        await bell.publish("rc:ruleset", dice.randbytes(dice.randint(0, 64)))
        await watcher.look()
        assert held.current is first

    assert held.refused == MUTANTS
    assert (tmp_path / "ruleset.json").read_bytes() == snapshot

    body = canonical(good(MUTANTS + 2))
    await table.execute(INSERT, [MUTANTS + 2, body, sign(body, KEY)])
    await watcher.look()
    assert held.current.version == MUTANTS + 2
    await table.close()
    await bell.aclose()
