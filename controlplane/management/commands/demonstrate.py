"""`manage.py demonstrate`: alice's phone calls the first who doesn't have calling yet. Two real phones."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from controlplane.accounts.models import Subscriber
from controlplane.actions.demonstration import FEATURE, read
from rollout.models import Grant

MANAGE = Path(__file__).resolve().parents[3] / "manage.py"
READY_SECONDS = 30.0
LONGEST_SILENCE = 4.0  # seconds


class Command(BaseCommand):
    help = "alice calls somebody: starts both phones, lets them talk, and shows what each of them says."

    spoke = 0.0  # when the last line was written, by the monotonic clock

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("caller", nargs="?", default="alice")
        parser.add_argument("callee", nargs="?", help="by default the first who doesn't have calling yet")
        parser.add_argument("--seconds", type=float, default=5.0, help="how long they talk (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        told = read(settings.ENV)
        people = {person["name"]: person for person in told.get("people", [])}
        having = {name for name, person in people.items() if self._has_calling(person["phone"])}
        fresh = [name for name in people if name not in having and name != options["caller"]]
        named = options["callee"] or (fresh or [name for name in people if name != options["caller"]] or [""])[0]
        caller, callee = people.get(options["caller"]), people.get(named)
        if caller is None or callee is None or caller is callee:
            known = ", ".join(people) or "nobody yet: start `make run` first"
            raise CommandError(f"Name two different people of the demonstration. There are: {known}.")
        if named in having:
            words = f"{named} has calling already, so this call activates nobody. "
            words += f"Call {fresh[0]} to see it." if fresh else "`make reset` starts afresh."
        else:
            words = f"{named} doesn't have calling yet: answering the call turns it on."
        self._say(words)
        url = told["public_url"]
        waits = ["listen", "--phone", callee["phone"], "--name", callee["name"], "--answer", "--calls", "1"]
        signs_in = ["register", "--phone", caller["phone"], "--name", caller["name"]]
        calls = ["call", callee["phone"], "--seconds", str(options["seconds"])]
        ready = threading.Event()
        answering = self._start(url, callee, [*waits, "--record", f"{callee['folder']}/heard.wav"], ready.set)
        try:
            self._until(ready.is_set, answering, f"{callee['name']}'s phone to start")
            signing_in = self._start(url, caller, signs_in)
            if self._ended(signing_in, f"{caller['name']}'s phone to sign in"):
                raise CommandError(f"{caller['name']}'s phone can't sign in: see above.")
            calling = self._start(url, caller, [*calls, "--record", f"{caller['folder']}/heard.wav"])
            if self._ended(calling, "the end of their call"):
                raise CommandError("The call did not succeed: see above, or ask the console's Explain page why.")
            answering.wait(10)
        finally:
            if answering.poll() is None:
                answering.terminate()
                answering.wait(10)
        time.sleep(0.1)  # the last lines
        self.stdout.write(f"What each of them heard: {caller['folder']}/heard.wav and {callee['folder']}/heard.wav")

    def _has_calling(self, phone: str) -> bool:
        people = Subscriber.objects.filter(phone_hash=settings.KEYS.phone_hash(phone))
        return Grant.objects.live().filter(feature__key=FEATURE, subscriber__in=people).exists()

    def _start(
        self, url: str, person: dict[str, str], words: list[str], heard: Callable[[], None] = lambda: None
    ) -> subprocess.Popen[str]:
        """The person's phone, its lines printed with its name; `heard` is called when it says that it waits."""
        arguments = ["phone", "--url", url, "--folder", person["folder"], *words]
        self._say(self.style.MIGRATE_HEADING(f"$ manage.py {' '.join(arguments)}"))
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(MANAGE), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def show() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                named = line if f"{person['name']}: " in line else f"{line[:10]}{person['name']}: {line[10:]}"
                self._say(named.rstrip())
                if "Waiting for calls" in line:
                    heard()

        threading.Thread(target=show, daemon=True).start()
        return process

    def _until(self, ready: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
        end = time.monotonic() + READY_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                raise CommandError("The answering phone doesn't start: see above. Does `make run` still run?")
            self._rest(what)

    def _ended(self, process: subprocess.Popen[str], what: str) -> int:
        while (code := process.poll()) is None:
            self._rest(what)
        return code

    def _rest(self, what: str) -> None:
        """A tenth of a second; after a longer silence a line says what is awaited."""
        time.sleep(0.1)
        if time.monotonic() - self.spoke > LONGEST_SILENCE:
            self._say(f"  … waiting for {what}")

    def _say(self, line: str) -> None:
        self.spoke = time.monotonic()
        self.stdout.write(line)
        self.stdout.flush()
