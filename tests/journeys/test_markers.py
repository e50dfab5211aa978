"""Marked numbers, a name and tokens go through everything that people do: afterwards they stand only where they may.

Looked at are every log line, every key and value in Redis (while it rings, and afterwards), what doctor, metrics and
the audit say, and every column of PostgreSQL.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from controlplane.base import env, locations
from story.phones import Phone, phone_command
from story.rest import Refused, http, ofrep, wait_until
from story.stack import Stack
from tests.faults.stacks import ROOT

pytestmark = pytest.mark.stack
FEATURE = "voice-calls"
STORES = ("DATABASE_URL", "REDIS_URL")
WHERE_A_NAME_STANDS = ("accounts_subscriber", "name")


@dataclass
class Marked:
    """What was given to the deployment, and what its stores held meanwhile."""

    stack: Stack
    block: str = field(default_factory=lambda: f"{secrets.randbelow(9000) + 1000}")
    held: dict[str, bytes] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def number(self, place: int) -> str:
        return f"+4366477{self.block}{place}"

    @property
    def name(self) -> str:
        return f"Zephyrine {self.block}"

    @property
    def marks(self) -> dict[str, str]:
        """Each mark by what it is; a number is looked for without its plus, however it is written around."""
        return {"a number": self.number(0)[1:-1], "a name": self.name, **self.tokens}

    def settings(self) -> env.Env:
        return env.load({"ROLLCALL_DATA": str(self.stack.data)})

    def note_redis(self, when: str) -> None:
        with redis.Redis.from_url(locations.redis_url(self.settings())) as store:
            for key in store.scan_iter():
                self.held[f"Redis {when}: {key!r}"] = key + b"\n" + _value(store, key)


def _value(store: Any, key: bytes) -> bytes:
    match store.type(key):
        case b"string":
            found: Any = store.get(key)
        case b"list":
            found = store.lrange(key, 0, -1)
        case b"hash":
            found = store.hgetall(key)
        case b"set":
            found = store.smembers(key)
        case b"zset":
            found = store.zrange(key, 0, -1)
        case b"stream":
            found = store.xrange(key)
        case b"none":
            return b""  # it went meanwhile
        case kind:
            raise AssertionError(f"{key!r} is a {kind!r}: say here how it is read")
    return repr(found).encode()


def phone(marked: Marked, folder: Path, name: str, place: int) -> Phone:
    options = ["run", "--phone", marked.number(place), "--answer", "manual"]
    made = Phone(name, [*phone_command(), "--signaling-only"], folder / name, marked.stack.url, options)
    made.wait("ready", seconds=60)
    kept = json.loads((folder / name / "tokens.json").read_text())
    marked.tokens |= {f"{name}'s access token": kept["access"][-40:], f"{name}'s refresh token": kept["refresh"]}
    return made


def people_do_what_people_do(marked: Marked, folder: Path) -> None:
    """Registering, calling, being refused, ringing, declining, missing a call, and every mistake on the way."""
    rest = marked.stack.operator
    marked.tokens["an API key"] = rest.key
    person = {"phone": marked.number(0), "name": marked.name}
    rest.post("subscribers", {"subscribers": [person], "reason": "They are expected."})
    alice, bob = phone(marked, folder, "alice", 0), phone(marked, folder, "bob", 1)
    refused(bob, marked.number(0))
    rest.post("grants", {"feature": FEATURE, "subscribers": [marked.number(0)], "reason": "They are expected."})
    window = {"feature": FEATURE, "name": "Marks", "places": 100, "quota": 20, "open": True, "reason": "A test."}
    opened = rest.post("windows", window)
    alice.wait("grant", seconds=20)
    assert wait_until("the area", 60, lambda: rest.get("areas/DE")["state"] == "ramp")
    refused(alice, marked.number(2))

    rung = bob.mark()
    called = alice.do("call", to=marked.number(1))
    bob.wait("ring", after=rung)
    marked.note_redis("while it rings")
    bob.do("decline")
    alice.wait("ended", after=called)
    bob.close()
    called = alice.do("call", to=marked.number(1))
    alice.wait("routing", "ringing", "ended", "refused", after=called)
    marked.note_redis("while it rings nobody")
    alice.do("hangup")
    alice.wait("ended", after=called)
    make_mistakes(marked, alice)
    alice.close()
    rest.post(f"windows/{opened['id']}/close", {"reason": "The test is over."})
    marked.note_redis("afterwards")


def refused(caller: Phone, number: str) -> None:
    mark = caller.do("call", to=number)
    caller.wait("refused", after=mark)
    caller.wait("ended", after=mark)


def make_mistakes(marked: Marked, alice: Phone) -> None:
    """Requests that come to nothing, each with a mark in its address or body."""
    stack, key = marked.stack, {"X-API-Key": marked.stack.operator.key}
    token = json.loads((alice.folder / "tokens.json").read_text())["access"]
    bearer = {"Authorization": f"Bearer {token}"}
    stranger, garbled = marked.number(3), f"{marked.number(4)}x"
    assert ofrep(stack.url, token, FEATURE)["value"] is True
    challenge = http("POST", f"{stack.url}/v1/registration", {"phone": stranger})["challenge"]
    for method, url, body, headers in [
        ("POST", f"{stack.url}/v1/registration", {"phone": garbled}, {}),
        ("POST", f"{stack.url}/v1/registration/{stranger}", {"phone": stranger}, {}),
        ("POST", f"{stack.url}/v1/registration/verify", {"challenge": challenge, "code": "000000"}, {}),
        ("POST", f"{stack.url}/v1/tokens/refresh", {"refresh_token": marked.tokens["alice's refresh token"] + "x"}, {}),
        ("GET", f"{stack.url}/v1/{token[-40:]}", None, bearer),
        ("PATCH", f"{stack.url}/v1/me", {"name": marked.name}, bearer),
        ("POST", f"{stack.url}/v1/calls/prepare", {"callee": {"phone": garbled}}, bearer),
        ("GET", f"{stack.url}/phone/{stranger}?phone={stranger}", None, {}),
        ("POST", f"{stack.url}/ofrep/v1/evaluate/flags/{FEATURE}", {"context": {"targetingKey": stranger}}, key),
        ("GET", f"{stack.console}/api/subscribers/{stranger}", None, key),
        ("GET", f"{stack.console}/api/subscribers/{garbled}", None, key),
        ("GET", f"{stack.console}/api/{stranger}", None, key),
        ("GET", f"{stack.console}/api/explain?subscriber={stranger}&feature={FEATURE}", None, key),
        ("GET", f"{stack.console}/console/{stranger}/", None, {}),
        ("POST", f"{stack.console}/api/grants", {"feature": FEATURE, "subscribers": [stranger]}, key),
        ("POST", f"{stack.console}/api/subscribers", {"subscribers": [{"phone": garbled, "name": marked.name}]}, key),
        ("GET", f"{stack.console}/api/overview", None, {"X-API-Key": stack.operator.key + "x"}),
    ]:
        status = status_of(method, url.replace("+", "%2B"), body, headers)
        assert status < 500, f"{method} {url}: {status}"


def status_of(method: str, url: str, body: object, headers: dict[str, str]) -> int:
    try:
        http(method, url, body, headers)
    except Refused as refusal:
        return refusal.status
    except ValueError:
        pass  # a page, which is no JSON
    return 200


def note_diagnostics(marked: Marked) -> None:
    """What people look at when they look for a fault."""
    stack = marked.stack
    for words in (["doctor", "--json"], ["processes", "list", "--json"], ["audit", "verify"]):
        asked = subprocess.run(
            [sys.executable, "manage.py", *words],
            env={name: value for name, value in os.environ.items() if name not in STORES}
            | {"ROLLCALL_DATA": str(stack.data)},
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        marked.held[f"manage.py {' '.join(words)}"] = asked.stdout + asked.stderr
    for path in ("overview", "audit?limit=1000", "outbox", "keys", "rulesets"):
        marked.held[f"api/{path}"] = json.dumps(stack.operator.get(path)).encode()
    marked.held["the log"] = Path(stack.log.name).read_bytes()


def columns_with(marked: Marked, mark: str) -> Iterator[tuple[str, str]]:
    """(table, column) of every column of PostgreSQL that holds the mark, as text or as bytes."""
    with psycopg.connect(locations.database_url(marked.settings()), autocommit=True) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
        ).fetchall()
        for table, column in columns:
            query = f'SELECT EXISTS (SELECT FROM "{table}" t WHERE t."{column}"::text ~ %s)'
            found = connection.execute(query, (f"{re.escape(mark)}|{mark.encode().hex()}",)).fetchone()
            if found and found[0]:
                yield table, column


@pytest.fixture(scope="module")
def marked(demonstration: Stack) -> Marked:
    made = Marked(demonstration)
    with tempfile.TemporaryDirectory() as folder:
        people_do_what_people_do(made, Path(folder))
    note_diagnostics(made)
    return made


def test_marks__after_all_that_people_do__stand_in_no_log_no_redis_and_no_diagnosis(marked: Marked) -> None:
    found = {
        f"{what} stands in {place}: …{text[max(0, at - 120) : at + 60]!r}…"
        for place, text in marked.held.items()
        for what, mark in marked.marks.items()
        if (at := text.find(mark.encode())) >= 0
    }

    assert len(marked.held) > 20
    assert "\n".join(sorted(found)) == ""


def test_marks__after_all_that_people_do__stand_in_postgres_where_they_are_meant_to(marked: Marked) -> None:
    found = {(what, *place) for what, mark in marked.marks.items() for place in columns_with(marked, mark)}

    assert found == {("a name", *WHERE_A_NAME_STANDS)}
