"""`manage.py processes`: list, stop, start and restart what the supervisor runs, over its control socket (0600).

One JSON object each way: {"verb": "list"} or {"verb": "stop", "name": "edge"}; the answer comes once it is so.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controlplane.base import env as environment
from controlplane.base.locations import socket_folder
from controlplane.host.memory import measure
from controlplane.host.watched import State, Watched

LONGEST = 30.0  # seconds that an order may take
VERBS = ("list", "stop", "start", "restart")


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody asked over the control socket. `taken` is set once the main thread began to obey."""

    verb: str
    name: str
    taken: threading.Event = field(default_factory=threading.Event)


class Control:
    """The socket. Its threads only pass orders on and watch states; the main thread obeys."""

    def __init__(
        self, path: Path, watched: Mapping[str, Watched], wake: Callable[[], None], about: Mapping[str, Any]
    ) -> None:
        self.path = path
        self._about = about
        self._watched = watched
        self._wake = wake
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        path.unlink(missing_ok=True)  # left by a supervisor that was killed; the lock says that it is gone
        self._socket = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.listen(8)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def next_order(self) -> Order | None:
        try:
            return self._orders.get_nowait()
        except queue.Empty:
            return None

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(LONGEST + 5)
            try:
                asked = json.loads(stream.readline(4096))
                answer = self._answer(str(asked.get("verb")), str(asked.get("name") or ""))
            except (ValueError, AttributeError, OSError):
                answer = {"trouble": "This isn't an order that the supervisor can read."}
            try:
                stream.write(json.dumps(answer).encode() + b"\n")
                stream.flush()
            except OSError:
                pass

    def _answer(self, verb: str, name: str) -> dict[str, Any]:
        if verb not in VERBS:
            return {"trouble": f"There is no verb {verb!r}: use {', '.join(VERBS)}."}
        if verb != "list":
            watched = self._watched.get(name)
            if watched is None:
                return {"trouble": f"There is no process {name!r}: there are {', '.join(self._watched)}."}
            order = Order(verb, name)
            self._orders.put(order)
            self._wake()
            wanted = State.STOPPED if verb == "stop" else State.RUNNING
            deadline = time.monotonic() + LONGEST
            if not order.taken.wait(LONGEST):
                return {"trouble": "The supervisor is busy. Try again."}
            while watched.state is not wanted:
                if time.monotonic() > deadline:
                    return {"trouble": f"{name} is {watched.state} after {LONGEST:g} s; the log may say why."}
                time.sleep(0.02)
        processes = [watched.as_json() for watched in self._watched.values()]
        return {"supervisor": os.getpid(), **self._about, "processes": processes}


def ask(data: Path, verb: str, name: str = "") -> dict[str, Any] | None:
    """The supervisor's answer; None when none runs on this data folder."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LONGEST + 5)
        try:
            connection.connect(str(socket_folder(data) / "control.sock"))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        with connection.makefile("rwb") as stream:
            stream.write(json.dumps({"verb": verb, "name": name}).encode() + b"\n")
            stream.flush()
            answer = json.loads(stream.readline())
    return answer if isinstance(answer, dict) else None


def with_memory(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with the bytes that each process and its descendants use, and the supervisor's own."""
    for process in answer["processes"]:
        memory = measure(process["pid"]) if process["pid"] else None
        process["rss"] = memory.rss if memory else 0
        process["pss"] = memory.pss if memory else 0
    own = measure(answer["supervisor"], family=False)
    itself = {"name": "supervisor", "pid": answer["supervisor"], "state": "running", "restarts": 0}
    answer["processes"].insert(0, {**itself, "rss": own.rss, "pss": own.pss})
    answer["pss"] = sum(process["pss"] for process in answer["processes"])
    return answer


def table(answer: dict[str, Any]) -> str:
    rows = [f"{'process':<12}{'pid':>8}  {'state':<20}{'restarts':>8}{'RSS':>9}{'PSS':>9}"]
    for process in answer["processes"]:
        sizes = f"{process['rss'] / 1e6:>6.0f} MB{process['pss'] / 1e6:>6.0f} MB"
        rows.append(
            f"{process['name']:<12}{process['pid'] or '-':>8}  {process['state']:<20}{process['restarts']:>8}{sizes}"
        )
    return "\n".join([*rows, f"{'together':<59}{answer['pss'] / 1e6:>6.0f} MB"])


def main(argv: list[str]) -> int:
    """Exit code 0 when it is as asked, 1 with a sentence when not."""
    parser = argparse.ArgumentParser(prog="manage.py processes", description="What the supervisor runs.")
    parser.add_argument("verb", nargs="?", default="list", choices=VERBS)
    parser.add_argument("name", nargs="?", default="", help="which process, for stop, start and restart")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(argv)
    if options.verb != "list" and not options.name:
        parser.error(f"say which process to {options.verb}")
    try:
        env = environment.load()
        answer = ask(env.data, options.verb, options.name)
    except environment.BadSetting as trouble:
        answer = {"trouble": str(trouble)}
    except OSError as error:
        answer = {"trouble": f"The supervisor can't be reached: {error.strerror or error}. Run as its own user."}
    if answer is None:
        answer = {"trouble": f"Rollcall doesn't run on {env.data}. Start it with 'make run', or set ROLLCALL_DATA."}
    if "trouble" not in answer:
        answer = with_memory(answer)
    print(json.dumps(answer) if options.json else answer.get("trouble") or table(answer))
    return 1 if "trouble" in answer else 0
