"""How our own processes are started: as whom, by which Python, with which code.

Started as root they run as the system user, who reads the code and writes none of it. What stands where that user can't
enter (the checkout, its environment, the interpreter) is mirrored for it: see `controlplane.host.reach`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controlplane.base.env import HOME, ROOT, Env
from controlplane.host.child import Account, spawn
from controlplane.host.reach import within_reach
from controlplane.host.server import Say, Server, run_once

CODE = frozenset({"manage.py", "controlplane", "rollout", "calls", "templates"})
PREFIX = Path(sys.base_prefix).resolve()
INTERPRETER = Path(sys.executable).resolve()
LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
SITES = tuple(dict.fromkeys(Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")))
UNNEEDED = frozenset({"test", "tests", "site-packages"})


@dataclass(frozen=True, slots=True)
class Runtime:
    """Starts our own processes. `variables` is what they see beside the supervisor's own environment."""

    env: Env
    say: Say
    account: Account | None
    python: Path
    code: Path
    variables: Mapping[str, str]

    def start(self, name: str, arguments: list[str]) -> Server:
        """`python <arguments>` in the checkout; what it says goes to the log under its name."""
        environment = {**os.environ, **self.variables, "ROLLCALL_PROCESS": name}
        if name != "migrate":
            environment.pop("DATABASE_OWNER_URL", None)
        argv = [str(self.python), *arguments]
        server = Server(name, spawn(argv, environment=environment, account=self.account, folder=self.code))
        server.drain(self.say)
        return server


def runtime(env: Env, say: Say, account: Account | None) -> Runtime:
    """Everything that its processes need is where the account can read it. Raises `StartTrouble`."""
    variables = _variables(env)
    python, code, sites = Path(sys.executable), ROOT, list(SITES)
    if account is not None:
        packages = [str(ROOT / name) for name in CODE if (ROOT / name).is_dir()]
        run_once([sys.executable, "-m", "compileall", "-q", *packages], None, ROOT)  # the account may not
        code = within_reach(ROOT, account, _is_code)
        sites = [within_reach(site, account) for site in SITES]
        prefix = within_reach(PREFIX, account, _is_python)
        # The way to an environment's Python may lead through a link in a folder that is closed.
        python = python.parent.resolve() / python.name
        if (prefix, *sites) != (PREFIX, *SITES):
            python = prefix / INTERPRETER.relative_to(PREFIX)
        if prefix != PREFIX:
            variables["LD_LIBRARY_PATH"] = str(prefix / "lib")
        variables["HOME"] = str(env.state)
        if any(HOME in place.parents for place in (python, code, *sites)):
            say("rollcall", f"{account.name} can't enter every folder of the code: it runs a mirror in {HOME}")
    inherited = os.environ.get("PYTHONPATH", "")
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(code), inherited, *map(str, sites)]))
    return Runtime(env, say, account, python, code, variables)


def _variables(env: Env) -> dict[str, str]:
    """The same settings as the supervisor's."""
    return {
        "ROLLCALL_DATA": str(env.data),
        "ROLLCALL_SUPERVISED": "1",
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "controlplane.settings"),
        "PYTHONUNBUFFERED": "1",
        "MALLOC_ARENA_MAX": "2",  # glibc's arenas per thread cost tens of megabytes and bring nothing here
    }


def _is_code(path: Path) -> bool:
    return path.parent != ROOT or path.name in CODE


def _is_python(path: Path) -> bool:
    """The interpreter, its library and the native libraries beside that."""
    if path.parent == PREFIX:
        return path.name in {"bin", "lib"}
    if path.parent == PREFIX / "bin":
        return path == INTERPRETER
    if path.parent == PREFIX / "lib":
        return path.name == LIBRARY.name or ".so" in path.name
    return path.name not in UNNEEDED
