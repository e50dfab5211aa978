"""`manage.py run`: one process that starts, watches and ends all others, with one readable log.

Plain Python, no Django, small. Every child is tied to this process by the kernel (`child.py`), so that even
kill -9 leaves no orphan. Only the main thread starts processes: a child's tie is to the thread that started it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from controlplane.base import env as environment
from controlplane.base.files import write_whole
from controlplane.host.banner import banner
from controlplane.host.child import StartTrouble
from controlplane.host.datafolder import Lock
from controlplane.host.embedded import Embedded
from controlplane.host.log import Log
from controlplane.host.processes import Control, Order
from controlplane.host.processes import main as processes
from controlplane.host.programs import (
    Program,
    ask_ready,
    has_command,
    own_programs,
    require_free_port,
    store_programs,
)
from controlplane.host.runtime import Runtime, runtime
from controlplane.host.watched import State, Watched

GRACE = 4.0  # seconds for our own processes to end by themselves; the servers' turn comes after
SERVER_GRACE = 4.0
SLOW = 30.0  # seconds after which a start that isn't complete goes on without what is missing


class Stopping(Exception):
    """SIGINT or SIGTERM arrived while Rollcall was starting."""


@dataclass(frozen=True, slots=True)
class Step:
    """A program that must succeed before the processes start."""

    name: str
    arguments: tuple[str, ...]
    trouble: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What is started above the stores."""

    programs: Callable[[Runtime], list[Program]]
    steps: tuple[Step, ...]


def first_steps(env: environment.Env) -> tuple[Step, ...]:
    steps = [
        Step("stores", ("-m", "controlplane.base.stores"), "a store can't be used (the lines above say why)"),
        Step("migrate", ("manage.py", "migrate", "--no-input"), "the migrations didn't succeed (see above)"),
    ]
    if env.demonstration and has_command("seed"):
        steps.append(Step("seed", ("manage.py", "seed"), "the demonstration couldn't be seeded (see above)"))
    else:  # edges of a new deployment can't decide before there is a ruleset
        steps.append(Step("ruleset", ("manage.py", "ruleset", "publish"), "no ruleset could be published (see above)"))
    return tuple(steps)


class Supervisor:
    """Owns the children of one data folder."""

    def __init__(self, env: environment.Env, log: Log, parts: Parts | None = None) -> None:
        self.env = env
        self.log = log
        self.parts = parts or Parts(own_programs, first_steps(env))
        self.since = datetime.now(tz=UTC)
        self.embedded = Embedded(env, say=log, postgres=not env.database_url, redis=not env.redis_url)
        self.watched: dict[str, Watched] = {}
        self.stopping = False
        self._wake_read, self._wake_write = os.pipe()
        for end in (self._wake_read, self._wake_write):
            os.set_blocking(end, False)
        self.control: Control | None = None

    # the life of the whole

    def run(self) -> int:
        """0 after an ordinary end. Raises `StartTrouble` where a start can't succeed; nothing is left running then."""
        self._listen_to_signals()
        self.log.keep_saying()
        try:
            self._start()
            while not self.stopping:
                self._step()
        except Stopping:
            pass
        finally:
            self._end()
        return 0

    def _start(self) -> None:
        if self.env.data == environment.place_of(environment.ROOT):
            self.log("rollcall", f"only root may enter {environment.ROOT}, so the servers' data is in {self.env.data}")
        require_free_port("PORT", self.env.host, self.env.port)
        require_free_port("CONSOLE_PORT", self.env.host, self.env.console_port)
        self.embedded.prepare()
        self.log.awaited = "the code to be where the processes can read it"
        about = {"host": self.env.host, "port": self.env.port, "console_port": self.env.console_port}
        self.control = Control(self.embedded.sockets / "control.sock", self.watched, self._wake, about)
        own = runtime(self.env, self.log, self.embedded.account)
        self._start_all(store_programs(self.env, self.embedded), strict=True)
        for step in self.parts.steps:
            self._once(own, step)
        waiting = self._start_all(self.parts.programs(own), strict=False)
        self.log.awaited = ""
        print("\n".join(banner(self.env, [self._excuse(name) for name in waiting])), flush=True)

    def _start_all(self, programs: list[Program], *, strict: bool) -> list[str]:
        """All are running afterwards, but for those that it returns: they aren't ready yet.

        Strict: waits for all, and the first that ends is the trouble. Otherwise what ends is restarted.
        """
        for program in programs:
            self.log.awaited = program.name
            self.log("rollcall", f"starting {program.name}")
            watched = self.watched[program.name] = Watched(program, self.log, on_change=self._write_state)
            watched.start(strict=strict)
        begun = time.monotonic()
        while True:
            self._step()
            if self.stopping:
                raise Stopping
            mine = [self.watched[program.name] for program in programs]
            for watched in mine:
                if strict and watched.trouble is not None:
                    raise watched.trouble
            waiting = [watched.name for watched in mine if watched.state in {State.STARTING, State.WAITING}]
            self.log.awaited = ", ".join(waiting)
            if not waiting or (not strict and time.monotonic() - begun > SLOW):
                return waiting

    def _excuse(self, name: str) -> str:
        """Why a process isn't ready, as far as it says so itself."""
        port = {"edge": self.env.port, "web": self.env.console_port}.get(name)
        said = ask_ready(self.env, port)[1] if port else ""
        return f"{name} isn't ready yet. {f'It says: {said}' if said else 'The lines above may say why.'}"

    def _once(self, own: Runtime, step: Step) -> None:
        """Run a program to its end. Raises `StartTrouble` when it fails."""
        self.log("rollcall", f"running {step.name}")
        self.log.awaited = step.name
        server = own.start(step.name, list(step.arguments))
        try:
            while server.process.poll() is None:
                self._step()
                if self.stopping:
                    raise Stopping
        finally:
            server.end(signal.SIGTERM, 2)
        server.last_words()
        if server.process.returncode:
            raise StartTrouble(step.name, f"Rollcall can't start: {step.trouble}.")

    # one turn

    def _step(self) -> None:
        """Wait for something to happen, but not long; then let each child take its turn and obey orders."""
        busy = any(watched.state not in {State.RUNNING, State.STOPPED} for watched in self.watched.values())
        ready, _, _ = select.select([self._wake_read], [], [], 0.05 if busy else 1.0)
        if ready:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                pass
        now = time.monotonic()
        for watched in self.watched.values():
            watched.turn(now)
        while self.control is not None and (order := self.control.next_order()) is not None:
            self._obey(order)

    def _obey(self, order: Order) -> None:
        watched = self.watched[order.name]
        match order.verb:
            case "stop":
                watched.stop(GRACE)
            case "start":
                watched.want()
            case "restart":
                watched.restart(GRACE)
        order.taken.set()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"\0")
        except BlockingIOError:
            pass

    # the end

    def _listen_to_signals(self) -> None:
        def stop(number: int, frame: object) -> None:
            self.stopping = True

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGHUP, stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only wakes the loop
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def _end(self) -> None:
        """Nothing that we started runs afterwards: our own processes end first, then the stores."""
        self.log.awaited = ""
        if self.watched:
            self.log("rollcall", "stopping")
        stores = [watched for watched in self.watched.values() if watched.name in {"postgres", "redis"}]
        own = [watched for watched in self.watched.values() if watched not in stores]
        for group, patience in ((own, GRACE), (stores, SERVER_GRACE)):
            for watched in group:
                watched.stop(patience)
            deadline = time.monotonic() + patience + 1
            while any(watched.state is State.ENDING for watched in group) and time.monotonic() < deadline:
                select.select([self._wake_read], [], [], 0.02)
                for watched in group:
                    watched.turn(time.monotonic())
            for watched in group:
                watched.kill()
        if self.control is not None:
            self.control.close()
        (self.env.data / "run" / "processes.json").unlink(missing_ok=True)
        if self.watched:
            self.log("rollcall", "stopped")

    def _write_state(self) -> None:
        """`run/processes.json`, for people and scripts; the control socket knows more."""
        state = {
            "supervisor": os.getpid(),
            "since": self.since.isoformat(timespec="seconds"),
            "processes": [watched.as_json() for watched in self.watched.values()],
        }
        path = self.env.data / "run" / "processes.json"
        try:
            write_whole(path, json.dumps(state, indent=1).encode())
        except OSError as error:
            self.log("rollcall", f"ERROR {path} can't be written: {error.strerror}")


def run(arguments: list[str]) -> int:
    """The command. Prints one sentence for each trouble, and exits 1."""
    if arguments:
        print("manage.py run takes no arguments: its settings come from the environment (PORT, ROLLCALL_DATA, …).")
        return 2
    log = Log()
    try:
        env = environment.load()
        log = Log(as_json=env.log_json)
        with Lock(env.data):
            return Supervisor(env, log).run()
    except (environment.BadSetting, StartTrouble) as trouble:
        log("rollcall", f"ERROR {trouble}")
        return 1


COMMANDS: dict[str, Callable[[list[str]], int]] = {"run": run, "processes": processes}


def main(argv: list[str]) -> int:
    """Called by manage.py, before Django, with the command's name first."""
    return COMMANDS[argv[0]](argv[1:])
