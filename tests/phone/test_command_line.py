"""`manage.py phone` as separate processes, told by commands and telling by JSON lines."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.phone.arbiter import Arbiter
from tests.phone.conftest import NUMBERS

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """One phone process; events come as they are printed."""

    @classmethod
    async def start(cls, url: str, folder: Path, *options: str, as_json: bool = True) -> Process:
        self = cls()
        say = ["--json"] if as_json else []
        words = [
            sys.executable,
            str(ROOT / "manage.py"),
            "phone",
            "--url",
            url,
            "--folder",
            str(folder),
            *say,
            *options,
        ]
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        self.events: list[dict[str, Any]] = []
        return self

    def do(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(command) + "\n").encode())

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((line + "\n").encode())

    async def wait(self, name: str, seconds: float = 20) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while True:
                line = await self.process.stdout.readline()
                if not line:
                    raise AssertionError(f"ended before {name}: {self.events} {await self.process.stderr.read()!r}")
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == name:
                    return self.events[-1]

    async def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await asyncio.wait_for(self.process.wait(), 10)


async def test_run__two_processes__call_each_other_with_sound(arbiter: Arbiter, tmp_path: Path) -> None:
    alice = await Process.start(arbiter.url, tmp_path / "a", "run", "--phone", NUMBERS["alice"], "--name", "alice")
    bob = await Process.start(arbiter.url, tmp_path / "b", "run", "--phone", NUMBERS["bob"])
    await asyncio.gather(alice.wait("ready"), bob.wait("ready"))

    alice.do(do="call", to=NUMBERS["bob"], seconds=0.5, tone=523, ref="first")
    ring = await bob.wait("ring")
    bob.do(do="answer", tone=800, record=str(tmp_path / "{call}.wav"), ref="yes")
    media, ended = await alice.wait("media"), await alice.wait("ended")
    assert (await bob.wait("ended"))["stats"]["received"] > 5

    assert (ring["from"], ring["activates"]) == (NUMBERS["alice"], False)
    assert (media["tone"], media["ref"], ended["reason"]) == (523, "first", "hangup")
    assert {event.get("name") for event in alice.events} == {"alice"}
    assert (tmp_path / f"{ring['call']}.wav").stat().st_size > 10_000
    assert await alice.end() == 0
    assert await bob.end() == 0


async def test_run__every_question_and_every_mistake__is_answered_by_one_event(
    arbiter: Arbiter, tmp_path: Path
) -> None:
    phone = await Process.start(
        arbiter.url, tmp_path / "a", "--signaling-only", "run", "--phone", NUMBERS["alice"], "--answer", "ignore"
    )
    ready = await phone.wait("ready")
    assert (ready["phone"], ready["state"], ready["answer"], ready["online"]) == (
        NUMBERS["alice"], "idle", "ignore", True,
    )  # fmt: skip

    phone.do(do="features", ref="1")
    assert (await phone.wait("features"))["features"]["features"][0]["key"] == "calling"
    phone.do(do="ofrep", feature="calling", ref="2")
    ofrep = await phone.wait("ofrep")
    assert (ofrep["value"], ofrep["ref"], ofrep["feature"]) == (True, "2", "calling")
    assert ofrep["token_issued_at"] <= ofrep["at"]
    phone.do(do="set", answer="auto", after=1)
    assert (await phone.wait("set"))["answer"] == "auto"
    phone.do(do="me")
    assert "device_list" in (await phone.wait("me"))["me"]

    mistakes = ["", "{", "[]", "5", '{"do": 5}', '{"do": "dance"}', "dance", '{"do": "answer"}', '{"do": "hangup"}']
    mistakes += ['{"do": "call"}', '{"do": "set", "answer": "perhaps"}', '{"do": "safety", "who": "+49"}']
    mistakes += ['{"do": "call", "to": "+49", "seconds": "long"}', '{"do": "ofrep"}', "é"]
    for mistake in mistakes[1:]:
        phone.type(mistake)
        assert (await phone.wait("refused"))["code"] == "bad_command", mistake
    phone.type("")  # an empty line is nothing
    phone.do(do="quit")
    assert await asyncio.wait_for(phone.process.wait(), 5) == 0


async def test_run__sigterm_in_a_call__hangs_up_and_ends(arbiter: Arbiter, tmp_path: Path) -> None:
    pair = [
        await Process.start(arbiter.url, tmp_path / name, "--signaling-only", "run", "--phone", NUMBERS[name], *more)
        for name, more in (("alice", []), ("bob", ["--answer", "auto"]))
    ]
    await asyncio.gather(*(process.wait("ready") for process in pair))
    pair[0].do(do="call", to=NUMBERS["bob"])
    await asyncio.gather(*(process.wait("connected") for process in pair))

    pair[0].process.terminate()

    assert (await pair[1].wait("ended"))["reason"] == "hangup"
    assert await asyncio.wait_for(pair[0].process.wait(), 5) == 0
    assert await pair[1].end() == 0


async def test_call_and_listen__end_with_the_right_exit_codes(arbiter: Arbiter, tmp_path: Path) -> None:
    options = ["--signaling-only", "listen", "--answer", "--calls", "1", "--phone", NUMBERS["bob"]]
    bob = await Process.start(arbiter.url, tmp_path / "b", *options)
    await bob.wait("ready")
    register = await Process.start(arbiter.url, tmp_path / "a", "register", "--phone", NUMBERS["alice"])
    assert await register.end() == 0

    call = await Process.start(
        arbiter.url, tmp_path / "a", "--signaling-only", "call", NUMBERS["bob"], "--seconds", "0.1"
    )
    assert (await call.wait("ended"))["reason"] == "hangup"
    assert await call.end() == 0
    assert await asyncio.wait_for(bob.process.wait(), 5) == 0

    arbiter.problems["prepare"] = {"code": "not_enabled", "status": 403, "detail": "Wait.", "cause": "not_invited"}
    refused = await Process.start(arbiter.url, tmp_path / "a", "--signaling-only", "call", NUMBERS["bob"])
    told = await refused.wait("refused")
    assert (told["code"], told["cause"]) == ("not_enabled", "not_invited")
    assert await refused.end() == 1


async def test_call__for_people__is_told_in_sentences(arbiter: Arbiter, tmp_path: Path) -> None:
    phone = await Process.start(arbiter.url, tmp_path / "a", "register", "--phone", NUMBERS["alice"], as_json=False)
    out, _ = await phone.process.communicate()

    assert out.decode().strip().endswith(f"Registered as {NUMBERS['alice']}.")


async def test_register__a_phone_whose_number_went_to_another__registers_it_again(
    arbiter: Arbiter, tmp_path: Path
) -> None:
    async def register() -> list[str]:
        phone = await Process.start(arbiter.url, tmp_path / "alice", "register", "--phone", NUMBERS["alice"])
        out, _ = await phone.process.communicate()
        return [json.loads(line)["event"] for line in out.decode().splitlines()]

    first, again = await register(), await register()
    arbiter.problems["me"] = {"code": "token_refused", "status": 401}
    taken_back = await register()

    assert (first, again, taken_back) == (["registered"], [], ["registered"])


@pytest.mark.parametrize(
    ("options", "code"),
    [(["features"], "not_registered"), (["call", "+4915200000009"], "not_registered")],
    ids=["features", "call"],
)
async def test_verbs__before_registration__say_what_to_do(
    arbiter: Arbiter, tmp_path: Path, options: list[str], code: str
) -> None:
    phone = await Process.start(arbiter.url, tmp_path / "a", "--signaling-only", *options)

    assert (await phone.wait("refused"))["code"] == code
    assert await phone.end() == 1


async def test_signaling_only__never_loads_the_media_stack(arbiter: Arbiter, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom calls.phone.__main__ import main\n"
        f"main(['--url', {arbiter.url!r}, '--folder', {str(tmp_path / 'a')!r}, '--signaling-only', 'register', "
        f"'--phone', {NUMBERS['alice']!r}])\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('aiortc', 'av', 'django', 'numpy')])"
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=pipe, stderr=pipe, cwd=ROOT)
    out, err = await process.communicate()

    assert process.returncode == 0, err
    assert out.decode().splitlines()[-1] == "[]"


async def test_crowd__pairs__hold_calls_and_hang_up_on_command(arbiter: Arbiter, tmp_path: Path) -> None:
    crowd = await Process.start(arbiter.url, tmp_path, "crowd", "--pairs", "5", "--phone-prefix", "+4915200", "--hold")
    told = await crowd.wait("crowd")
    assert (told["pairs"], len(set(told["subscribers"])), told["phones"][0]) == (5, 10, "+4915200000001")

    crowd.type("start")
    while (await crowd.wait("holding"))["holding"] != 5:
        pass
    crowd.do(do="hangup", count=2)
    while (await crowd.wait("holding"))["holding"] != 3:
        pass
    crowd.type("start 1")
    while (await crowd.wait("holding"))["holding"] != 4:
        pass
    crowd.type("nonsense")
    assert (await crowd.wait("refused"))["code"] == "bad_command"
    crowd.type("quit")

    assert await asyncio.wait_for(crowd.process.wait(), 10) == 0
    assert sum(op == "end" for _, op, _ in arbiter.requests) >= 6
