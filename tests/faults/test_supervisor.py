"""The supervisor over stub processes and the real embedded stores: starts, deaths, orders and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controlplane.host.child import Account, unreachable
from controlplane.host.datafolder import is_held
from controlplane.host.watched import FIRST_PAUSE, HEALTHY, LONGEST_PAUSE, next_pause
from tests.faults.stacks import REAL, ROOT, STUBS, Stack, environment, free_ports, lives, until

Start = Callable[..., Stack]


@pytest.fixture
def start(data_folder: Path) -> Iterator[Start]:
    started: list[Stack] = []

    def begin(
        *words: str, argv: list[str] | None = None, data: Path | None = None, user: int | None = None, **settings: str
    ) -> Stack:
        stack = Stack([*(argv or STUBS), *words], environment(data or data_folder, **settings), user=user)
        started.append(stack)
        return stack

    yield begin
    for stack in started:
        stack.end()


def listed(stack: Stack) -> dict[str, dict[str, object]]:
    answer = json.loads(stack.processes("list", "--json").stdout)
    return {process["name"]: process for process in answer["processes"]}


def test_supervisor__started__runs_all_and_says_so(start: Start, data_folder: Path) -> None:
    stack = start().is_up()

    found = listed(stack)

    assert list(found) == ["supervisor", "postgres", "redis", "steady", "parent"]
    assert {process["state"] for process in found.values()} == {"running"}
    assert all(int(str(process["pss"])) > 0 for process in found.values())
    on_disk = json.loads((data_folder / "run" / "processes.json").read_text())
    assert on_disk["supervisor"] == stack.process.pid
    assert os.stat(data_folder / "s" / "control.sock").st_mode & 0o777 == 0o600


def test_supervisor__sigterm__ends_all_within_ten_seconds(start: Start, data_folder: Path) -> None:
    stack = start("stubborn").is_up()
    family = stack.family()
    assert len(family) >= 6

    took = stack.end(signal.SIGTERM)

    assert took < 10
    assert stack.process.returncode == 0
    assert "stubborn doesn't end by itself: killed" in stack.log
    assert [pid for pid in family if lives(pid)] == []
    assert not is_held(data_folder)


def test_supervisor__slow_to_start__says_what_it_waits_for(start: Start) -> None:
    stack = start("slow").is_up(40)

    assert "rollcall  … waiting for slow" in stack.log
    assert "waiting" not in stack.log.split("Ctrl-C ends everything")[1]


def test_supervisor__ctrl_c_while_starting__ends_all(start: Start) -> None:
    stack = start()
    assert stack.says("starting postgres")
    stack.says("starting redis", 5)
    family = stack.family()

    took = stack.end(signal.SIGINT)

    assert took < 10
    assert [pid for pid in family if lives(pid)] == []


def test_supervisor__killed__leaves_no_orphan_and_starts_again(start: Start) -> None:
    first = start().is_up()
    # what a supervised process starts for itself is its own affair: granian's worker, say, ties itself
    family = [pid for pid in first.family() if os.getpgid(pid) == pid]
    assert len(family) >= 4
    grandchildren = [pid for pid in first.family() if pid not in family]

    first.end(signal.SIGKILL)

    assert until(lambda: not any(lives(pid) for pid in family), 5), [pid for pid in family if lives(pid)]
    for pid in grandchildren:
        if lives(pid):
            os.kill(pid, signal.SIGKILL)
    second = start().is_up()
    assert {process["state"] for process in listed(second).values()} == {"running"}


def test_supervisor__second_start_on_the_folder__refused_by_name(start: Start) -> None:
    first = start().is_up()

    second = start()

    assert until(lambda: second.process.poll() is not None, 10)
    assert second.process.returncode == 1
    assert f"Rollcall already runs on this data folder (process {first.process.pid}, since 20" in second.log
    assert first.process.poll() is None


def test_supervisor__child_killed__restarted_with_all_it_started_gone(start: Start) -> None:
    stack = start().is_up()
    before = int(str(listed(stack)["parent"]["pid"]))
    grandchildren = [pid for pid in stack.family() if pid != before and os.getpgid(pid) == before]
    assert len(grandchildren) == 1

    os.kill(before, signal.SIGKILL)

    assert until(lambda: listed(stack)["parent"]["restarts"] == 1, 10)
    assert until(lambda: listed(stack)["parent"]["state"] == "running", 10)
    assert "parent (process " in stack.log
    assert "ended by signal SIGKILL" in stack.log
    assert not lives(grandchildren[0])


def test_supervisor__postgres_killed__restarted(start: Start) -> None:
    stack = start().is_up()

    os.kill(int(str(listed(stack)["postgres"]["pid"])), signal.SIGKILL)

    assert until(lambda: listed(stack)["postgres"]["restarts"] == 1, 10)
    assert until(lambda: listed(stack)["postgres"]["state"] == "running", 20), stack.log


def test_supervisor__child_that_always_dies__waits_ever_longer(start: Start) -> None:
    stack = start("mortal")

    assert stack.says("mortal starts again in 0.5 s")
    assert stack.says("mortal starts again in 1 s")
    assert stack.says("mortal starts again in 2 s")
    assert "ended with exit code 3" in stack.log


@pytest.mark.parametrize(
    ("before", "lived", "after"),
    [
        (0.0, 0.1, FIRST_PAUSE),
        (0.5, 0.1, 1.0),
        (16.0, 59.9, LONGEST_PAUSE),
        (LONGEST_PAUSE, 1.0, LONGEST_PAUSE),
        (LONGEST_PAUSE, HEALTHY, FIRST_PAUSE),
    ],
)
def test_next_pause__table__doubles_to_thirty_and_forgets(before: float, lived: float, after: float) -> None:
    assert next_pause(before, lived) == after


def test_processes__stop_start_restart__stay_as_told(start: Start) -> None:
    stack = start().is_up()
    first = int(str(listed(stack)["steady"]["pid"]))

    stopped = stack.processes("stop", "steady")
    assert stopped.returncode == 0, stopped.stdout
    assert listed(stack)["steady"]["state"] == "stopped"
    assert not lives(first)

    assert stack.processes("start", "steady").returncode == 0
    second = int(str(listed(stack)["steady"]["pid"]))
    assert stack.processes("restart", "steady").returncode == 0
    third = int(str(listed(stack)["steady"]["pid"]))
    assert len({first, second, third}) == 3
    assert listed(stack)["steady"]["restarts"] == 0


def test_processes__unknown_name_or_no_supervisor__says_so(start: Start) -> None:
    stack = start().is_up()

    unknown = stack.processes("stop", "nobody")
    stack.end()
    away = stack.processes()

    assert unknown.returncode == 1
    assert "There is no process 'nobody': there are postgres, redis, steady" in unknown.stdout
    assert away.returncode == 1
    assert "Rollcall doesn't run on" in away.stdout


@pytest.mark.parametrize("variable", ["PORT", "CONSOLE_PORT"])
def test_supervisor__port_taken__names_the_variable(start: Start, variable: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        stack = start(**{variable: str(port)})

        assert until(lambda: stack.process.poll() is not None, 10)
    stack.end()
    assert stack.process.returncode == 1
    assert f"Port {port} on 127.0.0.1 is taken by another program." in stack.log
    assert f"or choose another: {variable}=" in stack.log


def test_supervisor__port_that_its_processes_may_not_use__refused(start: Start) -> None:
    stack = start(PORT="81")

    assert until(lambda: stack.process.poll() is not None, 10)
    stack.end()
    assert "No permission to listen on port 81. Choose one above 1023: PORT=8081" in stack.log


def test_supervisor__damaged_cluster__says_what_to_do_and_ends(start: Start, data_folder: Path) -> None:
    start().is_up().end()
    (data_folder / "pg" / "global" / "pg_control").unlink()

    stack = start()

    assert until(lambda: stack.process.poll() is not None, 20)
    stack.end()
    assert stack.process.returncode == 1
    assert "is damaged" in stack.log
    assert "set it aside" in stack.log


def test_supervisor__long_path__starts_and_obeys(start: Start, data_folder: Path) -> None:
    data_folder.mkdir(mode=0o711)
    stack = start(data=data_folder / ("long" * 20)).is_up()

    assert stack.processes("restart", "steady").returncode == 0
    sockets = Path((data_folder / ("long" * 20) / "sockets").read_text())
    stack.end()
    subprocess.run(["rm", "-r", str(sockets)], check=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"DATABASE_URL": "postgresql://rollcall:pw@127.0.0.1:{port}/x"}, "PostgreSQL at 127.0.0.1 can't be used"),
        ({"DATABASE_URL": "mysql://somewhere/x"}, "must start with postgresql://"),
        ({"REDIS_URL": "redis://127.0.0.1:{port}/0"}, "Redis at 127.0.0.1 can't be used"),
        ({"REDIS_URL": "http://127.0.0.1"}, "REDIS_URL must start with redis://"),
    ],
)
def test_run__wrong_store__one_sentence_and_an_end(start: Start, settings: dict[str, str], words: str) -> None:
    (nobody,) = free_ports(1)

    stack = start(argv=REAL, **{name: value.format(port=nobody) for name, value in settings.items()})

    assert until(lambda: stack.process.poll() is not None, 30), stack.log
    stack.end()
    assert stack.process.returncode == 1
    assert words in stack.log
    assert "Traceback" not in stack.log
    assert "pw@" not in stack.log


def test_run__bad_setting__named_before_anything_starts(start: Start) -> None:
    stack = start(argv=REAL, PORT="eighty")

    assert until(lambda: stack.process.poll() is not None, 10)
    stack.end()
    assert stack.process.returncode == 1
    assert "PORT='eighty' can't be used: expected a port from 1 to 65535." in stack.log


def test_run__no_permission__names_the_folder(start: Start, data_folder: Path) -> None:
    nobody = 65534 if os.geteuid() == 0 else None
    if nobody is not None:
        needed = (ROOT / "manage.py", Path(sys.executable))
        closed = [found for path in needed if (found := unreachable(path, Account("nobody", nobody, nobody)))]
        if closed:
            pytest.skip(f"as root this test runs as the user nobody, who can't enter {closed[0]}")
    locked = data_folder.parent / "locked"
    locked.mkdir(mode=0o555)

    stack = start(argv=REAL, data=locked / "data", user=nobody)

    assert until(lambda: stack.process.poll() is not None, 10)
    stack.end()
    assert stack.process.returncode == 1
    assert f"No permission to write {locked}/data/secret: set ROLLCALL_DATA to a folder of your own." in stack.log
    assert "Traceback" not in stack.log
