"""Rulesets: what is published loads everywhere; what is poisoned changes nothing; the disk stands in for PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import redis.asyncio
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from nacl.signing import SigningKey

from rollout.actions import doorbell, features, rulesets
from rollout.errors import RulesetInvalid
from rollout.models import Area, Audience, Feature, Ruleset
from rollout.questions.evaluate import current
from rollout.questions.rulesets import build
from rollout.rules.decision.decision import Cause, Party, decide
from rollout.serving.feed import Feed, FeedRow
from rollout.serving.ruleset import LARGEST, BadRuleset, Rulesets, Signed, canonical, load, sign
from rollout.serving.watch import Watcher, _end
from tests import builders
from tests.rollout import cast

KEY = SigningKey.generate()
NOW = timezone.now()


def document(version: int = 1, **changes: Any) -> dict[str, Any]:
    feature = {
        "key": "voice-calls",
        "kind": "boolean",
        "salt": "s",
        "switch": "on",
        "access": "rules",
        "rules": [
            {
                "name": "Germans",
                "any_of": [[{"trait": "country", "operator": "IN", "values": ["DE"]}, {"audience": "big"}]],
                "share_ppm": 500_000,
            }
        ],
        **changes,
    }
    return {
        "version": version,
        "published_at": 1427803200000,
        "features": {"voice-calls": feature},
        "audiences": {"big": [[{"trait": "age", "operator": "NUM_GT", "values": [17]}]]},
        "areas": {"DE": {"countries": ["DE"], "carriers": []}},
        "api_keys": {"ab" * 32: {"id": "1", "name": "backend", "scopes": ["evaluate"], "expires_at": None}},
    }


def signed(raw: Any, version: int = 1, key: SigningKey = KEY) -> Signed:
    body = raw if isinstance(raw, bytes) else canonical(raw)
    return Signed(version, body, sign(body, key))


def test_ruleset__signed_by_this_deployment__loads() -> None:
    each = signed(document())

    ruleset = load(each.body, each.signature, KEY.verify_key)

    assert ruleset.version == 1
    assert ruleset.areas[0].key == "DE"
    assert ruleset.api_keys["ab" * 32].scopes == {"evaluate"}


def test_canonical__same_content__gives_the_same_bytes_and_floats_keep_their_point() -> None:
    assert canonical({"b": 1.0, "a": [True]}) == canonical({"a": [True], "b": 1.0}) == b'{"a":[true],"b":1.0}'


GERMAN = {"trait": "country", "operator": "IN", "values": ["DE"]}
POISON: list[tuple[str, Signed]] = [
    ("another key", signed(document(2), 2, SigningKey.generate())),
    ("no signature", Signed(2, canonical(document(2)), b"")),
    ("not JSON", signed(b"\x00\xff{", 2)),
    ("nothing", signed(b"", 2)),
    ("NaN", signed(b'{"version":2,"published_at":NaN,"features":{}}', 2)),
    ("1e309", signed(b'{"version":2,"published_at":1e309,"features":{}}', 2)),
    ("null", signed(b"null", 2)),
    ("a list", signed(b"[]", 2)),
    ("too deep", signed(b"[" * 1000 + b"]" * 1000, 2)),
    ("far too deep", signed(b"[" * 100_000 + b"]" * 100_000, 2)),
    ("huge", signed(b'{"version":2,"x":"' + b"x" * LARGEST + b'"}', 2)),
    ("a million entries", signed(b'{"version":2,"published_at":1,"features":{"f":[' + b"1," * 1_000_000 + b"1]}}", 2)),
    ("version of another row", signed(document(3), 2)),
    ("nothing inside", signed({}, 2)),
    ("for newer readers", signed({**document(2), "format": 2, "least_reader": 2}, 2)),
    ("least reader of another kind", signed({**document(2), "least_reader": "1"}, 2)),
    ("unknown member of a rule", signed(document(2, rules=[{"not_before": 1}]), 2)),
    ("unknown member of a condition", signed(document(2, rules=[{"any_of": [[{**GERMAN, "unless": []}]]}]), 2)),
    ("unknown requirement", signed(document(2, requirements={"memory_mb": 512}), 2)),
    ("unknown switch", signed(document(2, switch="paused"), 2)),
    ("unknown access", signed(document(2, access="lottery"), 2)),
    ("unknown member of a key", signed({**document(2), "api_keys": {"cd" * 32: {"id": "1", "only": []}}}, 2)),
    ("circle", signed(document(2, prerequisites=["voice-calls"]), 2)),
    ("unknown audience", signed({**document(2), "audiences": {}}, 2)),
    (
        "deep variant",
        signed(document(2, kind="object", variants={"on": {"a": orjson.loads(b"[" * 90 + b"]" * 90)}}), 2),
    ),
    ("number as a key", signed({**document(2), "features": {"voice-calls": 7}}, 2)),
]


@pytest.mark.parametrize(("what", "poison"), POISON, ids=[row[0] for row in POISON])
def test_rulesets__poisoned__keep_the_last_good_one_and_count(what: str, poison: Signed) -> None:
    held = Rulesets(KEY.verify_key)
    assert held.swap(signed(document()))
    good = held.current

    assert not held.swap(poison)
    assert not held.swap(poison)

    assert held.current is good
    assert held.refused == 1
    assert held.refused_ones()[0] == [2]
    assert len(held.last_refusal) < 500
    assert held.swap(signed(document(3), 3))


def test_rulesets__a_thousand_mutants__never_raise_and_swap_only_what_reads() -> None:
    held = Rulesets(KEY.verify_key)
    held.swap(signed(document()))
    dice = random.Random(1)
    body = canonical(document())

    for _ in range(1000):
        mutant = bytearray(body)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(mutant))
            mutant[at : at + dice.randint(0, 3)] = dice.choice(
                [b"", b"null", b"9e99", b"{", b'"', b"\xff", b"-1", b"[]"]
            )
        one = signed(bytes(mutant), 1)
        try:
            load(one.body, one.signature, KEY.verify_key)
        except BadRuleset:
            assert not held.swap(one)

    assert decide(held.current, "voice-calls", Party("u", {}), NOW).cause is Cause.DEFAULT


def test_listener__that_fails__does_not_keep_the_others_from_hearing() -> None:
    held = Rulesets(KEY.verify_key)
    heard: list[int] = []

    def broken(old: object, new: object) -> None:
        raise RuntimeError

    held.listeners += [broken, lambda old, new: heard.append(new.version)]

    assert held.swap(signed(document()))
    assert heard == [1]


def test_snapshot__written_and_read_back__starts_without_postgresql(tmp_path: Path) -> None:
    before = Rulesets(KEY.verify_key, tmp_path / "ruleset.json")
    before.save(signed(document(4), 4))

    after = Rulesets(KEY.verify_key, tmp_path / "ruleset.json")

    assert after.start_from_disk()
    assert after.current.version == 4
    assert after.from_disk
    assert [path.name for path in tmp_path.iterdir()] == ["ruleset.json"]
    assert (tmp_path / "ruleset.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage", "resigned"])
def test_snapshot__damaged__is_refused_and_nothing_is_started(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ruleset.json"
    held = Rulesets(KEY.verify_key, path)
    held.save(signed(document(), key=SigningKey.generate() if damage == "resigned" else KEY))
    whole = path.read_bytes()
    flipped = whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:]
    path.write_bytes(
        {"cut": whole[:-5], "flipped": flipped, "empty": b"", "garbage": b"\x00" * 50, "resigned": whole}[damage]
    )

    assert not held.start_from_disk()
    assert held.refused == 1
    assert held.current.version == 0


def test_snapshot__disk_that_takes_nothing__keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Rulesets(KEY.verify_key, tmp_path / "ruleset.json")
    held.save(signed(document(1)))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("controlplane.base.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        held.save(signed(document(2), 2))
    monkeypatch.undo()

    assert held.start_from_disk()
    assert held.current.version == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def published(db: None) -> Ruleset:
    cast.feature()
    cast.area()
    builders.api_key("evaluate")
    Audience.objects.create(key="germans", name="Germans", any_of=[])
    return rulesets.publish(cast.OPERATOR, NOW)


def test_publish__everything_that_decides__is_in_it_and_verifies(published: Ruleset) -> None:
    ruleset = load(bytes(published.body), bytes(published.signature), settings.KEYS.ruleset.verify_key)

    assert ruleset.version == published.version == 1
    assert set(ruleset.features) == {"voice-calls"}
    assert set(ruleset.audiences) == {"germans"}
    assert len(ruleset.api_keys) == 1
    assert [area.key for area in ruleset.areas] == ["DE"]
    assert current().digest == ruleset.digest


def test_publish__nothing_changed__stays_at_the_last_version(published: Ruleset) -> None:
    again = rulesets.publish(cast.OPERATOR, NOW + timedelta(seconds=5))
    features.switch_off(cast.CALLS, actor=cast.OPERATOR, now=NOW)

    assert again.version == published.version
    assert list(Ruleset.objects.values_list("version", flat=True)) == [2, 1]


def test_publish__expired_and_revoked_keys__are_left_out(published: Ruleset) -> None:
    builders.api_key("evaluate", expires_at=NOW - timedelta(seconds=1))
    builders.api_key("evaluate", revoked_at=NOW)

    assert len(build(NOW)["api_keys"]) == 1


def test_publish__what_would_not_load__is_refused_and_nothing_is_stored(published: Ruleset) -> None:
    Feature.objects.update(prerequisites=["nothing"])

    with pytest.raises(RulesetInvalid) as refused, transaction.atomic():
        rulesets.publish(cast.OPERATOR, NOW)

    assert refused.value.extra["path"] == "features.voice-calls.prerequisites"
    assert Ruleset.objects.count() == 1


def test_publish__too_slow_to_compile__is_refused(published: Ruleset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulesets, "COMPILE_SECONDS_PER_100", 0.0)
    Area.objects.update(countries=["AT"])

    with pytest.raises(RulesetInvalid, match="to compile"), transaction.atomic():
        rulesets.publish(cast.OPERATOR, NOW)


@pytest.mark.django_db(transaction=True)
def test_publish__two_changes_at_once__neither_is_left_out() -> None:
    cast.feature()
    cast.feature(key="video-calls")
    start = threading.Barrier(2)

    def kill(key: str) -> None:
        start.wait()
        features.kill(key, actor=cast.OPERATOR, now=NOW)
        connection.close()

    threads = [threading.Thread(target=kill, args=[key]) for key in ("voice-calls", "video-calls")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    switches = {key: compiled.feature.switch for key, compiled in current().features.items()}
    assert switches == {"voice-calls": "killed", "video-calls": "killed"}
    assert Ruleset.objects.count() == 2


@dataclass
class Knobs:
    state: Path
    poll_seconds: float = 30.0


def connector(environment: dict[str, str]) -> Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]:
    async def connect() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(environment["DATABASE_URL"], autocommit=True)

    return connect


async def in_django(work: Callable[[], Any]) -> Any:
    """Runs in a thread of its own, whose connection is closed again."""

    def run() -> Any:
        try:
            return work()
        finally:
            connection.close()

    return await asyncio.to_thread(run)


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.01)


def watching(tmp_path: Path, connect: Any, bell: Any = None, poll: float = 30.0) -> tuple[Watcher, Rulesets, Feed]:
    held = Rulesets(settings.KEYS.ruleset.verify_key, tmp_path / "ruleset.json")
    feed = Feed(keep=3600)
    return Watcher(Knobs(tmp_path, poll), held, feed, connect, bell), held, feed


def insert(kind: str, payload: dict[str, Any], key: str) -> None:
    from controlplane.outbox.actions import enqueue

    enqueue(kind, key=key, payload=payload)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("bell_rings", [True, False])
async def test_watcher__change_committed__arrives_by_bell_or_by_asking(
    tmp_path: Path, stack_environment: dict[str, str], redis_url: str, bell_rings: bool
) -> None:
    bell = redis.asyncio.Redis.from_url(redis_url) if bell_rings else None
    watcher, held, feed = watching(tmp_path, connector(stack_environment), bell, poll=30.0 if bell_rings else 0.1)
    heard: list[FeedRow] = []
    watcher.on_feed.append(heard.extend)
    await in_django(cast.feature)
    task = asyncio.create_task(watcher.run())
    await until(lambda: watcher.seen_at is not None)
    await asyncio.sleep(0.3)

    await in_django(lambda: features.switch_off(cast.CALLS, actor=cast.OPERATOR, now=NOW))
    await until(lambda: held.current.version == 1, 2.0)
    await in_django(
        lambda: insert("grant.created", {"subscriber": "s", "feature": "f", "grant": 1, "source": "invite"}, "g1")
    )
    if bell_rings:
        await asyncio.to_thread(doorbell.ring, doorbell.FEED, "")
    await until(lambda: bool(heard), 2.0)

    assert [row.payload["grant"] for row in feed.facts_for("s", NOW.timestamp())] == [1]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert Rulesets(settings.KEYS.ruleset.verify_key, tmp_path / "ruleset.json").start_from_disk()
    if bell is not None:
        await bell.aclose()


@pytest.mark.django_db(transaction=True)
async def test_watcher__poison_in_the_table__is_passed_over_for_the_next_best(
    tmp_path: Path, stack_environment: dict[str, str]
) -> None:
    watcher, held, _ = watching(tmp_path, connector(stack_environment), poll=0.05)
    await in_django(cast.feature)
    await in_django(lambda: rulesets.publish(cast.OPERATOR, NOW))

    def poison() -> None:
        Ruleset.objects.create(version=10_000, body=b"{", signature=b"x", key_id="", published_at=NOW, published_by="m")

    await in_django(poison)
    task = asyncio.create_task(watcher.run())
    await until(lambda: held.current.version == 1)
    await asyncio.sleep(0.3)

    assert held.refused == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_watcher__both_stores_away__decides_from_disk_and_goes_on_trying(tmp_path: Path) -> None:
    tries = 0

    async def refused() -> psycopg.AsyncConnection[Any]:
        nonlocal tries
        tries += 1
        raise psycopg.OperationalError("connection refused")

    bell = redis.asyncio.Redis(host="127.0.0.1", port=1)
    watcher, held, _ = watching(tmp_path, refused, bell, poll=0.05)
    one = document(6)
    held.save(signed(one, 6, settings.KEYS.ruleset))
    task = asyncio.create_task(watcher.run())

    await until(lambda: tries >= 3)

    assert held.current.version == 6
    assert not task.done()
    assert watcher.behind is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_watcher__server_that_never_answers__does_not_stop_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.serving.watch.DEADLINE", 0.05)
    tries = 0

    async def hangs() -> psycopg.AsyncConnection[Any]:
        nonlocal tries
        tries += 1
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if tries > 2:
                    raise

    watcher, _, _ = watching(tmp_path, hangs, poll=0.05)
    task = asyncio.create_task(watcher.run())

    await until(lambda: tries >= 3)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_watcher__whose_listener_swallows_a_cancelling__ends_all_the_same() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)

    await asyncio.wait_for(_end({task}), 2)

    assert task.cancelled()
